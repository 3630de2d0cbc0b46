//! Becoming another user, for those who start gogeta as root.

use std::io;

use nix::unistd::{self, Gid, Group, Uid, User as Entry};

/// Whose process gogeta is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    uid: Uid,
    gid: Gid,
    /// The other groups that he is in; none where a group was given.
    groups: Vec<Gid>,
}

impl User {
    /// `NAME`, `UID`, and either with `:GROUP` or `:GID`, as the system knows them now. A number need not be known; its
    /// group is the same number then, unless it is given.
    ///
    /// # Errors
    ///
    /// Names the flag.
    pub fn find(text: &str) -> Result<Self, String> {
        let (name, group) = match text.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (text, None),
        };
        let unknown = |what: &str, name: &str| {
            format!(
                "--user {text}: there is no {what} {name:?} on this system; numbers need not be known (--user 1000:1000)"
            )
        };
        let system = |error: nix::Error| format!("--user {text}: cannot ask for it: {error}");
        let entry = match name.parse() {
            Ok(uid) => Entry::from_uid(Uid::from_raw(uid)).map_err(system)?,
            Err(_) => Entry::from_name(name).map_err(system)?,
        };
        let uid = match (&entry, name.parse()) {
            (Some(entry), _) => entry.uid,
            (None, Ok(uid)) => Uid::from_raw(uid),
            (None, Err(_)) => return Err(unknown("user", name)),
        };
        if let Some(group) = group {
            let gid = match group.parse() {
                Ok(gid) => Gid::from_raw(gid),
                Err(_) => {
                    let entry = Group::from_name(group).map_err(system)?;
                    entry.ok_or_else(|| unknown("group", group))?.gid
                }
            };
            return Ok(Self { uid, gid, groups: vec![gid] });
        }
        let Some(entry) = entry else {
            let gid = Gid::from_raw(uid.as_raw());
            return Ok(Self { uid, gid, groups: vec![gid] });
        };
        let name = std::ffi::CString::new(entry.name).map_err(|error| error.to_string())?;
        let groups = unistd::getgrouplist(&name, entry.gid).map_err(system)?;
        Ok(Self { uid, gid: entry.gid, groups })
    }

    /// His number.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// His group's.
    pub fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Becomes him, for good and with all threads. Nothing is done where this is him already.
    ///
    /// # Errors
    ///
    /// The system's: it takes root, or `CAP_SETUID` and `CAP_SETGID`.
    pub fn become_him(&self) -> io::Result<()> {
        let is_him = unistd::getuid() == self.uid && unistd::geteuid() == self.uid;
        if is_him && unistd::getegid() == self.gid {
            return Ok(());
        }
        unistd::setgroups(&self.groups)?;
        unistd::setresgid(self.gid, self.gid, self.gid)?;
        unistd::setresuid(self.uid, self.uid, self.uid)?;
        let now = unistd::getresuid()?;
        if [now.real, now.effective, now.saved] != [self.uid; 3] {
            return Err(io::Error::other("the kernel keeps the user that was given up"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let root = User::find("root").expect("everybody has one");
        assert_eq!((root.uid(), root.gid()), (0, 0));
        assert!(root.groups.contains(&Gid::from_raw(0)));
        let [one, two] = ["4000000", "4000000:4000001"].map(|text| User::find(text).expect("numbers"));
        assert_eq!((one.uid(), one.gid(), one.groups.len()), (4_000_000, 4_000_000, 1));
        assert_eq!((two.uid(), two.gid()), (4_000_000, 4_000_001));
        assert_eq!(User::find("0:root"), Ok(User { uid: 0.into(), gid: 0.into(), groups: vec![0.into()] }));
    }

    #[test]
    fn who_is_not_there_is_told_by_the_flag() {
        for text in ["no-such-user", "root:no-such-group", "-1", ""] {
            let error = User::find(text).expect_err(text);
            assert!(error.contains("--user") && error.contains("on this system"), "{error}");
        }
    }
}
