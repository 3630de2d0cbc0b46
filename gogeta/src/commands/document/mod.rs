//! The routes file as keys and values, each byte of them: what `export` writes, `import` reads and `check` looks at.
//!
//! The proxy's own reader ([`crate::store::file`]) wants a file that is right, and stops at the first mistake. This one
//! goes on, and knows the line of everything. Beside what is in the proxy's form there is `[other.domains]` and
//! `[other.services]`: keys and values that have no such form, so that none is lost on the way.

mod read;
mod write;

pub(super) use read::{Mistake, read};
pub(super) use write::write;

use crate::store::etcd::tree::Pair;

/// A key and its value, as in etcd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Where it stands, in a file.
    pub(super) line: Option<usize>,
}

impl From<Pair> for Entry {
    fn from(pair: Pair) -> Self {
        Self { key: pair.key, value: pair.value, line: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::key::KeySpace;
    use proptest::prelude::*;

    fn space() -> KeySpace {
        KeySpace::new("/domains", "/services")
    }

    fn there_and_back(pairs: &[(String, Vec<u8>)]) -> (String, Vec<(String, Vec<u8>)>) {
        let entries = pairs.iter().map(|(key, value)| Entry {
            key: key.clone().into_bytes(),
            value: value.clone(),
            line: None,
        });
        let (text, left_out) = write(&space(), &entries.collect::<Vec<_>>());
        assert!(left_out.is_empty());
        let document = read(&space(), &text);
        assert!(document.mistakes.is_empty(), "{:?} in\n{text}", document.mistakes);
        let found = document.entries.into_iter();
        let mut found: Vec<_> =
            found.map(|entry| (String::from_utf8(entry.key).expect("UTF-8"), entry.value)).collect();
        found.sort();
        (text, found)
    }

    #[test]
    fn what_has_a_form_is_written_in_it_and_the_rest_beside_it() {
        let pairs = [
            ("/domains/*.a.test/type", "uri"),
            ("/domains/B.test/config", "{\"forceSsl\":true}"),
            ("/domains/a b/type", "service"),
            ("/domains/b.test/config", "{ \"forceSsl\": true }"),
            ("/domains/b.test/tpye", "x"),
            ("/services/web/1/config/gogeta", "{\"robots\":\"a\\nb\",\"weight\":2}"),
            ("/services/web/1/lastAccess", "2014-01-01 00:00:00"),
            ("/services/web/1/location", "{\"host\":\"a\",\"port\":80}"),
            ("/services/web/1/status/alive", ""),
            ("/services/web/2/location", "nonsense"),
        ];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let (text, found) = there_and_back(&pairs);
        assert_eq!(found, pairs);
        assert!(
            text.contains("[services.web.1]\n") && text.contains("location = { host = \"a\", port = 80 }")
        );
        assert!(text.contains("config = '{ \"forceSsl\": true }'"), "{text}");
        assert!(text.contains("\"web/2/location\" = \"nonsense\""), "{text}");
    }

    fn key() -> impl Strategy<Value = String> {
        let host = prop_oneof!["[a-zA-Z*.-]{1,8}", "\\PC{0,4}"];
        let field = prop_oneof![
            Just("type".to_owned()),
            Just("value".to_owned()),
            Just("config".to_owned()),
            "[a-z/]{0,6}"
        ];
        let instance = prop_oneof![
            Just("location".to_owned()),
            Just("status/current".to_owned()),
            Just("status/alive".to_owned()),
            Just("config/gogeta".to_owned()),
            Just("lastAccess".to_owned()),
            Just("domain".to_owned()),
            "[a-z/]{0,6}",
        ];
        prop_oneof![
            (host, field).prop_map(|(host, field)| format!("/domains/{host}/{field}")),
            ("[a-z\"'\\\\ ]{0,3}", "[0-9a]{0,2}", instance)
                .prop_map(|(name, index, field)| format!("/services/{name}/{index}/{field}")),
        ]
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<Vec<u8>>(),
            "\\PC{0,8}".prop_map(String::into_bytes),
            "[\\x00-\\x7f]{0,8}".prop_map(String::into_bytes),
            Just(b"{\"host\":\"a\",\"port\":80}".to_vec()),
            Just(b"{\"host\":\"a\",\"port\":80.50,\"n\":null}".to_vec()),
            Just(b"{\"b\":[1,{\"c\":-2.5}],\"a\":18446744073709551615}".to_vec()),
            Just(b"{\"a\":{\"x y\":true,\"\":\"\\u0000\\u007f'\\\"\"}}".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost(pairs in proptest::collection::btree_map(key(), value(), 0..12)) {
            let pairs: Vec<_> = pairs.into_iter().collect();
            let (text, found) = there_and_back(&pairs);
            prop_assert_eq!(found, pairs, "{}", text);
        }
    }
}
