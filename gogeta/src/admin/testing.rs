//! What is behind the API, for unit tests: no listener, no worker, and whatever routes are wanted.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::{Admin, Desk, Parts};
use crate::app::Addresses;
use crate::cli::Options;
use crate::config::Config;
use crate::pages::Pages;
use crate::profile::Profiler;
use crate::routes::key::{DomainField, InstanceField, Key};
use crate::routes::registry::{Change, Registry};
use crate::routes::table::RouteTable;
use crate::sandbox::Holds;
use crate::share::{Share, share};
use crate::task_dump::Dumps;
use crate::telemetry::LogControl;

/// All that is behind the API of a gogeta with these routes.
pub(super) fn desk(table: RouteTable) -> Admin {
    let config = Config::try_from(Options::default()).expect("the defaults are right");
    let pages = Pages::embedded().expect("they are right");
    let Share { shared, .. } =
        share(config, pages, None, Holds::default()).expect("nothing is asked of the system");
    shared.publish(table);
    Arc::new(Desk::new(Parts {
        shared,
        addresses: Addresses { proxy: Vec::new(), admin: None },
        orders: mpsc::channel(1).0,
        log: Arc::new(LogControl::of_nothing()),
        profiler: Arc::new(Profiler::new("/nowhere".into())),
        dumps: Arc::new(Dumps::new(Arc::new([]))),
        over: watch::channel(false).1,
    }))
}

/// So many domains, and as many services with an instance each.
pub(super) fn many(count: usize) -> RouteTable {
    let mut entries = Vec::with_capacity(count * 3);
    for number in 0..count {
        // In no order.
        let host: Arc<str> = format!("{:06}.many.test", number.wrapping_mul(7919) % count).into();
        let service = format!("s{number}");
        entries.push((Key::Domain { host: host.clone(), field: DomainField::Type }, b"service".to_vec()));
        entries.push((Key::Domain { host, field: DomainField::Value }, service.clone().into_bytes()));
        let key =
            Key::Instance { service: (&*service).into(), index: "1".into(), field: InstanceField::Location };
        entries.push((key, br#"{"host":"127.0.0.1","port":1}"#.to_vec()));
    }
    let mut registry = Registry::default();
    registry.apply(Change::Snapshot { revision: 1, entries });
    registry.table()
}
