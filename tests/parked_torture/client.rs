//! A client that asks for anything in any way, and leaves in any way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;

use super::ask::Ask;
use super::reader::{Fate, Pace, Reader};
use super::routing::History;
use crate::support::random::Random;

/// What became of the requests.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) whole: u64,
    pub(super) pages: u64,
    pub(super) cut: u64,
    pub(super) nothing: u64,
    pub(super) left: u64,
    pub(super) connections: u64,
}

/// One that comes back until its time is over.
#[derive(Debug)]
pub(super) struct Tormentor {
    pub(super) proxy: SocketAddr,
    pub(super) history: Arc<History>,
    pub(super) random: Random,
    pub(super) tally: Tally,
    /// The last exchanges of this connection.
    pub(super) story: Vec<Vec<Ask>>,
}

/// How it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    /// In pieces up to this size.
    Pieces(usize),
}

impl Tormentor {
    /// Goes on until then.
    pub(super) async fn run(mut self, until: Instant) -> Tally {
        while Instant::now() < until {
            let mut stream = TcpStream::connect(self.proxy).await.expect("a connection");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            self.tally.connections += 1;
            self.story.clear();
            let mut reader = Reader::default();
            while Instant::now() < until && self.exchange(&mut stream, &mut reader).await {}
        }
        self.tally
    }

    /// One exchange, of several requests maybe; gives whether the connection goes on.
    async fn exchange(&mut self, stream: &mut TcpStream, reader: &mut Reader) -> bool {
        let random = &mut self.random;
        if random.once_in(4) {
            // Long enough for being parked, or just not.
            tokio::time::sleep(Duration::from_micros(random.below(10_000) as u64)).await;
        }
        let count = if random.once_in(8) { 2 + random.below(3) } else { 1 };
        let mut asks: Vec<Ask> = (0..count).map(|_| Ask::any(random)).collect();
        // Whoever ends their side has left, where userspace serves them.
        let half_closes = random.once_in(30);
        let aborts = random.once_in(25);
        asks[count - 1].last = random.once_in(30);
        let way = if random.once_in(6) { Way::Pieces(1 + random.below(80)) } else { Way::Whole };
        let pace = match random.below(12) {
            _ if aborts => Pace::Until(random.below(100_000) as u64),
            0 => Pace::Slow(1 + random.below(8000)),
            _ => Pace::Fast,
        };
        let rest = random.once_in(15).then(|| Duration::from_millis(random.below(200) as u64));
        if self.story.len() == 3 {
            self.story.remove(0);
        }
        self.story.push(asks.clone());
        let story = &self.story;
        let bytes: Vec<u8> = asks.iter().flat_map(Ask::bytes).collect();
        let sent = Instant::now();
        let (history, tally) = (&self.history, &mut self.tally);
        let me = stream.local_addr().expect("an address");
        let (mut from, mut to) = stream.split();
        let read = async {
            if let Some(rest) = rest {
                tokio::time::sleep(rest).await;
            }
            for ask in &asks {
                let fate = reader.response(&mut from, ask, pace).await;
                assert!(
                    !ask.is_safe() || half_closes || matches!(fate, Fate::Whole(..) | Fate::Left),
                    "{me}: {fate:?} for {ask:?} by {way:?}, {pace:?}, half-closed: {half_closes}, {rest:?}, at the end of {story:#?}"
                );
                match fate {
                    Fate::Whole(name, keeps) => {
                        history.assert_led(ask.host, &name, sent);
                        assert!(keeps != ask.last, "keeps: {keeps}, {ask:?}");
                        tally.whole += 1;
                    }
                    Fate::Page(status, keeps) => {
                        assert!(matches!(status, 502 | 504), "{status} for {ask:?}");
                        tally.pages += 1;
                        if !keeps {
                            return false;
                        }
                    }
                    Fate::Cut => {
                        tally.cut += 1;
                        return false;
                    }
                    Fate::Nothing => {
                        tally.nothing += 1;
                        return false;
                    }
                    Fate::Left => {
                        tally.left += 1;
                        return false;
                    }
                }
            }
            if half_closes || asks.last().is_some_and(|ask| ask.last) {
                reader.end(&mut from, &asks).await;
                return false;
            }
            !aborts
        };
        // A client may write and read at the same time.
        let write = write(&mut to, &bytes, way, half_closes);
        let (mut read, mut write) = (Box::pin(read), Box::pin(write));
        let mut is_written = false;
        let goes_on = loop {
            tokio::select! {
                goes_on = &mut read => break goes_on,
                () = &mut write, if !is_written => is_written = true,
            }
        };
        drop((read, write));
        if aborts {
            // Closed, what was not read makes it a reset; here it is one in any case.
            stream.set_zero_linger().expect("SO_LINGER");
        }
        goes_on && is_written
    }
}

/// What cannot be written any more, the answers will show.
async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], way: Way, half_closes: bool) {
    let most = match way {
        Way::Whole => bytes.len(),
        Way::Pieces(most) => most,
    };
    // A large body need not be in small pieces to its end.
    let (first, rest) = bytes.split_at(bytes.len().min(1000));
    for piece in first.chunks(most).chain([rest]) {
        if to.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    if half_closes {
        let _ = to.shutdown().await;
    }
}
