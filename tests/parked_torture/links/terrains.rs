//! The cables, and the hosts at their ends: one kind in each test.

use std::time::Duration;

use super::exchanges::{TALK, Talk, all_are_right, left_alone};
use super::weather::Weather;
use super::world::{Good, PLAIN, Terrain};

/// Both cables are like that.
fn both(weather: Weather) -> Terrain {
    Terrain { weather: [weather; 2], ..PLAIN }
}

fn losing(lost: u64) -> Weather {
    Weather { lost, ..Weather::default() }
}

const SHUFFLING: Weather = Weather { lost: 0, damaged: 0, doubled: 50, overtaken: 50, ..PLAIN.weather[0] };

#[tokio::test]
async fn where_one_packet_of_a_hundred_is_lost_each_exchange_is_right() {
    all_are_right(both(losing(10)), TALK).await;
}

#[tokio::test]
async fn where_three_packets_of_a_hundred_are_lost_each_exchange_is_right() {
    all_are_right(both(losing(30)), TALK).await;
}

#[tokio::test]
async fn where_five_packets_of_a_hundred_are_lost_each_exchange_is_right() {
    all_are_right(both(losing(50)), TALK).await;
}

#[tokio::test]
async fn where_too_much_is_lost_gogeta_repairs_each_cable_by_itself_and_nowhere_else() {
    let talk = Talk { exchanges: 400, largest: 300_000, ..TALK };
    let Some(bad) = left_alone(both(losing(80)), talk).await else { return };
    assert!(bad > 0.0, "nobody was left alone");
    assert_eq!(left_alone(PLAIN, talk).await, Some(0.0));
}

#[tokio::test]
async fn where_two_packets_of_a_hundred_come_damaged_each_exchange_is_right() {
    all_are_right(both(Weather { damaged: 20, ..Weather::default() }), TALK).await;
}

#[tokio::test]
async fn where_packets_come_twice_and_overtake_each_other_each_exchange_is_right() {
    all_are_right(both(SHUFFLING), TALK).await;
}

#[tokio::test]
async fn where_packets_take_fifty_milliseconds_more_or_less_each_exchange_is_right() {
    let (delay, jitter) = (Duration::from_millis(45), Duration::from_millis(10));
    let talk = Talk { exchanges: 48, ..TALK };
    all_are_right(both(Weather { delay, jitter, ..Weather::default() }), talk).await;
}

#[tokio::test]
async fn where_cables_are_narrow_each_exchange_is_right() {
    let weather = [2_000_000, 1_000_000].map(|rate| Weather { rate, ..Weather::default() });
    all_are_right(Terrain { weather, ..PLAIN }, TALK).await;
}

#[tokio::test]
async fn where_backends_take_shorter_packets_than_clients_each_exchange_is_right() {
    all_are_right(Terrain { mtu: [1500, 1400], ..both(losing(10)) }, TALK).await;
}

#[tokio::test]
async fn where_clients_take_shorter_packets_than_backends_none_is_carried_and_each_exchange_is_right() {
    let talk = Talk { carried: None, ..TALK };
    all_are_right(Terrain { mtu: [1400, 1500], ..both(losing(10)) }, talk).await;
}

#[tokio::test]
async fn where_all_packets_are_short_each_exchange_is_right() {
    all_are_right(Terrain { mtu: [1400; 2], ..both(losing(10)) }, TALK).await;
}

#[tokio::test]
async fn where_clients_have_no_room_for_a_while_each_exchange_is_right() {
    let talk = Talk { rests: true, exchanges: 160, largest: 200_000, ..TALK };
    all_are_right(both(losing(10)), talk).await;
}

#[tokio::test]
async fn where_nobody_has_timestamps_each_exchange_is_right() {
    all_are_right(Terrain { timestamps: [false; 3], ..both(losing(30)) }, TALK).await;
}

#[tokio::test]
async fn where_gogeta_alone_has_timestamps_each_exchange_is_right() {
    all_are_right(Terrain { timestamps: [false, true, false], ..both(losing(30)) }, TALK).await;
}

#[tokio::test]
async fn where_one_end_alone_has_timestamps_none_is_carried_and_each_exchange_is_right() {
    let talk = Talk { carried: None, exchanges: 120, ..TALK };
    for timestamps in [[true, true, false], [false, true, true]] {
        all_are_right(Terrain { timestamps, ..both(losing(30)) }, talk).await;
    }
}

#[tokio::test]
async fn whoever_acknowledges_selectively_each_exchange_is_right() {
    let talk = Talk { exchanges: 120, ..TALK };
    for sack in [[true, true, false], [false, true, true], [true, false, true], [false; 3]] {
        all_are_right(Terrain { sack, ..both(losing(30)) }, talk).await;
    }
}

#[tokio::test]
async fn where_neither_end_has_selective_acknowledgements_nor_timestamps_each_exchange_is_right() {
    all_are_right(Terrain { sack: [false; 3], timestamps: [false; 3], ..both(losing(30)) }, TALK).await;
}

#[tokio::test]
async fn where_many_segments_go_together_up_to_where_they_are_lost_each_exchange_is_right() {
    let talk = Talk { exchanges: 120, largest: 300_000, ..TALK };
    all_are_right(Terrain { good: Good::Together, ..both(losing(30)) }, talk).await;
}

#[tokio::test]
async fn where_each_segment_goes_alone_up_to_where_it_is_lost_each_exchange_is_right() {
    let talk = Talk { exchanges: 120, largest: 300_000, ..TALK };
    all_are_right(Terrain { good: Good::Alone, ..both(losing(30)) }, talk).await;
}

#[tokio::test]
async fn where_all_of_that_comes_together_over_ipv6_each_exchange_is_right() {
    let weather = Weather {
        lost: 20,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(5),
        rate: 4_000_000,
        ..SHUFFLING
    };
    let talk = Talk { exchanges: 120, ..TALK };
    all_are_right(Terrain { six: true, ..both(weather) }, talk).await;
}
