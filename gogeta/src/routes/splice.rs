//! What a domain, an instance or a flag says about the kernel carrying parked connections.

use serde::{Deserialize, Serialize};

/// Who carries parked connections. In the order of their say: of a domain's word and an instance's, the greater is
/// in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpliceMode {
    /// Whoever is ahead wherever it can be: userspace, so far
    Auto,
    /// The kernel, by packets
    Wire,
    /// The kernel, by sockets
    Sockmap,
    /// Userspace
    Off,
}

/// `splice` as it stands in a config. What is no mode is kept as it is: it counts as not set, is reported, and harms
/// no field beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SpliceSetting {
    /// A mode.
    Mode(SpliceMode),
    /// Anything else.
    Wrong(Box<serde_json::Value>),
}

impl SpliceSetting {
    /// The mode, where it is one.
    pub fn mode(&self) -> Option<SpliceMode> {
        match self {
            Self::Mode(mode) => Some(*mode),
            Self::Wrong(_) => None,
        }
    }

    /// Whether it is a mode.
    ///
    /// # Errors
    ///
    /// A sentence that says what it is instead.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Mode(_) => Ok(()),
            Self::Wrong(value) => {
                Err(format!("splice is auto, wire, sockmap or off, not {value}, which counts as not set"))
            }
        }
    }
}

/// What a domain and an instance say together: `off` of either goes before `sockmap` of either, that before `wire`,
/// and that before `auto`; none where neither says anything.
pub fn both(domain: Option<&SpliceSetting>, instance: Option<&SpliceSetting>) -> Option<SpliceMode> {
    let mode = |setting: Option<&SpliceSetting>| setting.and_then(SpliceSetting::mode);
    mode(domain).max(mode(instance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(json: &str) -> SpliceSetting {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn four_words_are_modes_and_nothing_else_is() {
        for (json, mode) in [
            (r#""auto""#, Some(SpliceMode::Auto)),
            (r#""sockmap""#, Some(SpliceMode::Sockmap)),
            (r#""off""#, Some(SpliceMode::Off)),
            (r#""Off""#, None),
            (r#""wire""#, Some(SpliceMode::Wire)),
            (r#""wires""#, None),
            (r#""""#, None),
            ("false", None),
            (r#"{"off":1}"#, None),
        ] {
            let setting = setting(json);
            assert_eq!(setting.mode(), mode, "{json}");
            assert_eq!(serde_json::to_string(&setting).ok().as_deref(), Some(json), "it is kept as it is");
            let said = setting.check().err();
            assert_eq!(said.is_none(), mode.is_some(), "{json}: {said:?}");
            assert!(said.is_none_or(|said| said.contains(json)), "{json}");
        }
    }

    #[test]
    fn the_table_of_both() {
        use SpliceMode::{Auto, Off, Sockmap, Wire};
        for (domain, instance, together) in [
            (None, None, None),
            (Some(Auto), None, Some(Auto)),
            (None, Some(Off), Some(Off)),
            (Some(Sockmap), None, Some(Sockmap)),
            (Some(Sockmap), Some(Auto), Some(Sockmap)),
            (Some(Wire), Some(Auto), Some(Wire)),
            (Some(Wire), Some(Sockmap), Some(Sockmap)),
            (Some(Off), Some(Wire), Some(Off)),
            (Some(Auto), Some(Sockmap), Some(Sockmap)),
            (Some(Sockmap), Some(Off), Some(Off)),
            (Some(Off), Some(Sockmap), Some(Off)),
        ] {
            let (one, other) = (domain.map(SpliceSetting::Mode), instance.map(SpliceSetting::Mode));
            assert_eq!(both(one.as_ref(), other.as_ref()), together, "{domain:?} and {instance:?}");
        }
        let wrong = setting("1");
        assert_eq!(both(Some(&wrong), None), None);
        assert_eq!(both(Some(&wrong), Some(&SpliceSetting::Mode(Off))), Some(Off));
    }
}
