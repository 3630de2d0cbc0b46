//! Timestamps (RFC 7323, 3): each end has a clock of its own, and echoes the other's.
//!
//! While a pair is carried, the client is told the upstream's times, and the other way round, moved so that they go on
//! from those of gogeta's own socket, which it had before. An echo is moved back. Where the pair goes back to gogeta's
//! sockets, their clocks must not fall behind what was told meanwhile, or the other end takes their segments for old
//! ones (RFC 7323, 5.3): then they are moved on for good.

use super::segment::after;

/// The clock that one end sees, of whoever is at the other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Clock {
    /// What gogeta's socket adds to the kernel's milliseconds to tell the time.
    pub base: u32,
    /// What is added to that.
    pub shift: u32,
    /// What is added to the times of whoever is carried to this end.
    offset: u32,
    /// The last time that this end was told while the pair was carried.
    told: u32,
    /// Whether there is an offset: 0 or 1.
    is_set: u32,
}

impl Clock {
    /// The clock of a socket that adds that to the kernel's milliseconds.
    pub const fn new(base: u32) -> Self {
        Self { base, shift: 0, offset: 0, told: 0, is_set: 0 }
    }

    /// What the socket's clock tells this end now.
    #[inline(always)]
    const fn now(&self, now: u32) -> u32 {
        now.wrapping_add(self.base).wrapping_add(self.shift)
    }

    /// Nothing was carried yet.
    #[inline(always)]
    pub const fn begin(&mut self) {
        self.is_set = 0;
    }

    /// What this end is told for somebody's time.
    #[inline(always)]
    pub const fn tell(&mut self, time: u32, now: u32) -> u32 {
        if self.is_set == 0 {
            let mine = self.now(now);
            self.offset = mine.wrapping_sub(time);
            self.told = mine;
            self.is_set = 1;
        }
        let told = time.wrapping_add(self.offset);
        if after(told, self.told) {
            self.told = told;
        }
        told
    }

    /// Whose time this end echoes by that. Before it was told any, it echoes gogeta's, which nobody else knows:
    /// zero is no echo.
    #[inline(always)]
    pub const fn echo(&self, echo: u32) -> u32 {
        if self.is_set == 0 || echo == 0 { 0 } else { echo.wrapping_sub(self.offset) }
    }

    /// Goes on by gogeta's own clock.
    #[inline(always)]
    pub const fn end(&mut self, now: u32) {
        if self.is_set != 0 && after(self.told, self.now(now)) {
            self.shift = self.told.wrapping_sub(now).wrapping_sub(self.base);
        }
        self.is_set = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_from_gogetas_own_and_echoes_come_back_as_they_were_told() {
        let mut clock = Clock::new(4900);
        assert_eq!(clock.echo(4990), 0);
        assert_eq!(clock.tell(77, 110), 5010);
        assert_eq!(clock.tell(80, 113), 5013);
        assert_eq!(clock.echo(5013), 80);
        assert_eq!(clock.echo(0), 0);
        clock.end(114);
        assert_eq!((clock.shift, clock.echo(5013)), (0, 0));
    }

    #[test]
    fn gogetas_clock_never_falls_behind_what_was_told() {
        let mut clock = Clock::new(u32::MAX);
        // The first packet took 50 ms, the next ones one.
        assert_eq!(clock.tell(1000, 50), 49);
        assert_eq!(clock.tell(1051, 52), 100);
        // Something that was late does not count.
        assert_eq!(clock.tell(1001, 53), 50);
        clock.end(54);
        assert_eq!(clock.now(54), 100);
        // The next carriage goes on from there.
        clock.begin();
        assert_eq!(clock.tell(7, 60), 106);
        clock.end(200);
        assert_eq!(clock.now(200), 246);
    }
}
