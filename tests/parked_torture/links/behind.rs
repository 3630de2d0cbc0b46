//! What a backend does behind an answer that its client, who is far, does not have yet: the client does not notice.

use std::time::Duration;

use gogeta::splice::Kind as Engine;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::weather::Weather;
use super::world::{PLAIN, Terrain, World};
use crate::parked_torture::ask::{Ask, BAD, Kind};
use crate::parked_torture::reader::{Fate, Pace, Reader};
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};

/// The clients are far, and a backend has long done what it does when they acknowledge its answer.
const FAR: Terrain = Terrain {
    weather: [Weather { delay: Duration::from_millis(50), ..PLAIN.weather[0] }, PLAIN.weather[1]],
    ..PLAIN
};

#[tokio::test]
async fn whatever_a_backend_does_behind_an_answer_its_client_gets_the_next_one() {
    let Some(world) = World::new(&FAR, 1).await else { return };
    let (_web, at_web) = world.backend("web");
    let builder = world.place(Gogeta::routes(&service_at(BAD, &[at_web])));
    let Some(gogeta) = parking_by(Engine::Wire, builder).await else { return };
    // It says something more, ends the connection, or breaks it off.
    for (number, kind) in (0..).zip([Kind::Later, Kind::Leave, Kind::Break]) {
        let mut stream = world.connection(None).await;
        let mut reader = Reader::default();
        let ask = Ask::simple(BAD, 100, number << 8);
        exchange(&mut stream, &mut reader, &ask).await;
        parked(&gogeta, 1.0).await;
        let before = carried(&gogeta).await;
        exchange(&mut stream, &mut reader, &Ask { kind, seed: ask.seed + 1, ..ask.clone() }).await;
        assert_eq!(carried(&gogeta).await, before + 1.0, "{kind:?}");
        // It comes with what says that the answer has come, and nobody sends it twice.
        let put = Ask { method: "PUT", up: Some((20, false)), seed: ask.seed + 2, ..ask };
        exchange(&mut stream, &mut reader, &put).await;
        drop(stream);
        parked(&gogeta, 0.0).await;
    }
}

async fn exchange(stream: &mut TcpStream, reader: &mut Reader, ask: &Ask) {
    stream.write_all(&ask.bytes()).await.expect("to send");
    let fate = reader.response(stream, ask, Pace::Fast).await;
    assert_eq!(fate, Fate::Whole("web".to_owned(), true), "{ask:?}");
}
