//! How much a pair loses of what it carries.
//!
//! Where the kernel carries packets, the ends repair what is lost between them: over both links, and each loss of the
//! one slows down what is sent by the other. A proxy between them repairs each link by itself, and sooner. Up to some
//! percent that is outweighed by what the kernel saves; beyond that, userspace is faster.

/// Kilobytes (as [`Pair::sent`](gogeta_common::pair::Pair::sent) counts them) that are looked at together: so many that
/// a link on which half as much is lost as may be is hardly ever taken for one on which too much is.
const ENOUGH: u64 = 256;

/// What a pair has lost since it was looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Losses {
    /// What was sent and what of it was sent again, when it was judged last.
    judged: [u64; 2],
    too_many: bool,
}

impl Losses {
    /// Begins anew where it is.
    pub(super) fn begin(&mut self, now: [u64; 2]) {
        *self = Self { judged: now, too_many: false };
    }

    /// Judges what was sent, and sent again, since the last time, if that is enough; whether more than so many percent
    /// of it were sent again.
    pub(super) fn look(&mut self, now: [u64; 2], most: u32) -> bool {
        let [sent, again] = [0, 1].map(|at| now[at].saturating_sub(self.judged[at]));
        if sent >= ENOUGH {
            self.judged = now;
            self.too_many = again * 100 > sent * u64::from(most);
        }
        self.too_many
    }

    /// What the last judgement was.
    pub(super) fn are_too_many(&self) -> bool {
        self.too_many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_judged_when_there_is_enough_of_it() {
        let mut losses = Losses::default();
        losses.begin([1000, 900]);
        for (sent, again, most, is_lossy) in [
            // Not enough yet, however bad.
            (1255, 1155, 4, false),
            (1256, 1156, 4, true),
            // The next ones are fewer, but it is known to be bad.
            (1300, 1156, 4, true),
            (1512, 1166, 4, false),
            // Ten and eleven of 256.
            (1768, 1176, 4, false),
            (2024, 1187, 4, true),
            // Nobody minds.
            (2280, 1443, 100, false),
            (2536, 1444, 0, true),
        ] {
            assert_eq!(losses.look([sent, again], most), is_lossy, "{sent} {again} {most}");
            assert_eq!(losses.are_too_many(), is_lossy);
        }
        losses.begin([2536, 1444]);
        assert!(!losses.are_too_many());
    }
}
