//! What the tests are written over: gogeta itself, etcd, backends, clients, and waiting for things.

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod echo;
pub(crate) mod etcd;
pub(crate) mod gogeta;
pub(crate) mod limit;
pub(crate) mod link;
pub(crate) mod netns;
pub(crate) mod origin;
pub(crate) mod parking;
pub(crate) mod random;
pub(crate) mod strace;
pub(crate) mod stuff;
pub(crate) mod tmux;
pub(crate) mod truth;
pub(crate) mod tunnel;
pub(crate) mod wait;
pub(crate) mod wrk;
