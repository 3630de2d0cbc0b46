//! The fields that gogeta adds: on a request that the wire engine carries they are what userspace adds.

use gogeta::splice::Kind;

use super::talk::{get, is_told};
use super::world::World;
use crate::support::backend::{Seen, service_at};
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};

/// Names and values, whatever their order and the names' letter case.
fn fields(seen: &Seen) -> Vec<(String, String)> {
    let lines = seen.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut fields: Vec<_> =
        lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn a_request_that_the_wire_carries_has_the_fields_that_userspace_would_give_it() {
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    for arguments in [&[][..], &["--forwarded"], &["--via", "edge.test"]] {
        web.forget();
        let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web]))).args(arguments);
        let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
        let mut client = world.client(world.front()).await;
        // Heads of odd and of even lengths, for a checksum counts in words.
        for number in 0..6 {
            let request = format!(
                "GET /same/{number} HTTP/1.1\r\nhost: A.test\r\nAccept: */*\r\nX-Odd:  {}\r\n\r\n",
                "x".repeat(number)
            );
            client.send(request).await;
            is_told(&mut client, "web", &format!("GET /same/{number} HTTP/1.1"), b"").await;
            parked(&gogeta, 1.0).await;
        }
        assert_eq!(carried(&gogeta).await, 5.0);
        let requests = web.requests();
        let without_odd = |seen: &Seen| {
            let mut fields = fields(seen);
            fields.retain(|(name, _)| name != "x-odd");
            fields
        };
        let expected = without_odd(&requests[0]);
        assert!(expected.iter().any(|(name, _)| name == "x-forwarded-for"), "{expected:?}");
        for (number, seen) in requests.iter().enumerate() {
            assert_eq!(without_odd(seen), expected, "{arguments:?}: request {number}");
            assert_eq!(seen.header("x-odd"), Some(&*"x".repeat(number)));
        }
    }
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_replaced_on_a_connection_that_the_wire_carries_too() {
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let mut client = world.client(world.front()).await;
    for field in ["X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6", "Via: 1.1 liar"]
    {
        get(&mut client, "a.test", "/before", "web").await;
        parked(&gogeta, 1.0).await;
        get(&mut client, "a.test", "/carried", "web").await;
        client.send(format!("GET /forged HTTP/1.1\r\nHost: a.test\r\n{field}\r\n\r\n")).await;
        is_told(&mut client, "web", "GET /forged HTTP/1.1", b"").await;
        let seen = web.requests().pop().expect("a request");
        if !field.starts_with("Via") {
            assert!(!seen.head.contains("6.6.6.6"), "{}", seen.head);
        }
        assert_eq!(seen.all("x-forwarded-for").len(), 1, "{}", seen.head);
    }
    assert!(carried(&gogeta).await >= 4.0);
}
