//! Whether and how far the kernel carries parked connections.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{ConfigError, Seconds};
use crate::cli::Options;
use crate::routes::splice::SpliceMode;

/// Pairs that `--splice-max-pairs` may ask for: each takes about 4.5 KB of the kernel's memory, so these take 300 MB.
const MOST_PAIRS: u32 = 65_536;

/// Whether and how far the kernel carries parked connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Who carries those of domains and instances that say nothing. With [`SpliceMode::Off`] no engine is made ready,
    /// whatever they say.
    pub mode: SpliceMode,
    /// So many requests a connection may keep its instance for, so that round robin goes on; any number where none.
    pub max_requests: Option<NonZeroU32>,
    /// And for so long; never zero.
    pub max_age: Duration,
    /// So many pairs (a client's connection and one to an instance) may be parked at once, by all threads together;
    /// one at least.
    pub max_pairs: u32,
    /// Most of what a pair carries that may be sent again, in percent: above that, userspace carries it.
    pub max_loss: u32,
}

impl Splice {
    /// What these options say.
    ///
    /// # Errors
    ///
    /// Names the flag.
    pub(super) fn of(options: &Options) -> Result<Self, ConfigError> {
        let max_age = options.splice_max_age.unwrap_or(Seconds::from_secs(300)).0;
        Ok(Self {
            mode: options.splice.unwrap_or(SpliceMode::Auto),
            max_requests: NonZeroU32::new(options.splice_max_requests.unwrap_or(10_000)),
            max_age: super::resolve::positive("--splice-max-age", max_age)?,
            max_pairs: match options.splice_max_pairs.unwrap_or(4096) {
                pairs @ 1..=MOST_PAIRS => pairs,
                pairs => {
                    return Err(ConfigError(format!(
                        "--splice-max-pairs must be 1 to {MOST_PAIRS}, not {pairs}; --splice off parks none"
                    )));
                }
            },
            max_loss: match options.splice_max_loss.unwrap_or(4) {
                percent @ 0..=100 => percent,
                percent => {
                    return Err(ConfigError(format!(
                        "--splice-max-loss must be a percentage from 0 to 100, not {percent}"
                    )));
                }
            },
        })
    }

    /// Who carries a route's connections; `said` is what its domain and instance say, as
    /// [`Route::splice`](crate::routes::table::Route::splice) gives it.
    pub fn mode_for(&self, said: Option<SpliceMode>) -> SpliceMode {
        match self.mode {
            SpliceMode::Off => SpliceMode::Off,
            mode => said.unwrap_or(mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splice(toml: &str) -> Result<Splice, String> {
        let options: Options = toml::from_str(toml).map_err(|error| error.to_string())?;
        Splice::of(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn what_options_amount_to() {
        let resolved = |mode, max_requests, max_age, max_pairs| Splice {
            mode,
            max_requests: NonZeroU32::new(max_requests),
            max_age: Duration::from_millis(max_age),
            max_pairs,
            max_loss: 4,
        };
        assert_eq!(
            splice("splice-max-loss = 100"),
            Ok(Splice { max_loss: 100, ..resolved(SpliceMode::Auto, 10_000, 300_000, 4096) })
        );
        for (toml, wanted) in [
            ("", resolved(SpliceMode::Auto, 10_000, 300_000, 4096)),
            ("splice = \"auto\"", resolved(SpliceMode::Auto, 10_000, 300_000, 4096)),
            ("splice = \"off\"", resolved(SpliceMode::Off, 10_000, 300_000, 4096)),
            (
                "splice = \"sockmap\"\nsplice-max-requests = 0",
                resolved(SpliceMode::Sockmap, 0, 300_000, 4096),
            ),
            (
                "splice-max-requests = 1\nsplice-max-age = \"500ms\"\nsplice-max-pairs = 65536",
                resolved(SpliceMode::Auto, 1, 500, 65_536),
            ),
            ("splice-max-age = 60\nsplice-max-pairs = 1", resolved(SpliceMode::Auto, 10_000, 60_000, 1)),
        ] {
            assert_eq!(splice(toml).as_ref(), Ok(&wanted), "{toml}");
        }
    }

    #[test]
    fn mistakes_name_the_option() {
        for (toml, says) in [
            ("splice-max-age = 0", ["--splice-max-age", "more than 0"]),
            ("splice-max-pairs = 0", ["--splice-max-pairs", "1 to 65536"]),
            ("splice-max-pairs = 65537", ["--splice-max-pairs", "65537"]),
            ("splice-max-loss = 101", ["--splice-max-loss", "0 to 100, not 101"]),
            ("splice-max-requests = -1", ["splice-max-requests", "u32"]),
            ("splice = \"wires\"", ["splice", "`auto`, `wire`, `sockmap`, `off`"]),
        ] {
            let error = splice(toml).expect_err(toml);
            assert!(says.iter().all(|says| error.contains(says)), "{toml}: {error}");
        }
    }

    #[test]
    fn the_flag_off_goes_before_what_routes_say() {
        use SpliceMode::{Auto, Off, Sockmap, Wire};
        for (flag, said, mode) in [
            ("auto", None, Auto),
            ("auto", Some(Sockmap), Sockmap),
            ("auto", Some(Off), Off),
            ("wire", None, Wire),
            ("wire", Some(Sockmap), Sockmap),
            ("sockmap", None, Sockmap),
            ("sockmap", Some(Auto), Auto),
            ("sockmap", Some(Off), Off),
            ("off", None, Off),
            ("off", Some(Sockmap), Off),
        ] {
            let splice = splice(&format!("splice = {flag:?}")).expect(flag);
            assert_eq!(splice.mode_for(said), mode, "{flag}, {said:?}");
        }
    }
}
