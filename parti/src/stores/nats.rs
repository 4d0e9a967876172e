//! How a group's records come to be on a NATS server: what is behind
//! [`ManagerBuilder::nats`](crate::ManagerBuilder::nats).

use std::sync::Arc;

use parti_core::{GroupName, Store};
use parti_nats::async_nats::ConnectOptions;
use parti_nats::{NatsOptions, NatsStore};

use crate::error::LaunchError;

/// What it takes to open a group's bucket. It is never printed: it may hold secrets.
pub(crate) struct Opening {
    pub(crate) url: String,
    pub(crate) connect: ConnectOptions,
    pub(crate) options: NatsOptions,
    pub(crate) group: GroupName,
}

impl Opening {
    /// Connects and opens the group's bucket.
    pub(crate) async fn open(self) -> Result<Arc<dyn Store>, LaunchError> {
        let Self {
            url,
            connect,
            options,
            group,
        } = self;
        match NatsStore::connect_with(connect, &url, &group, options).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(LaunchError::Store(Arc::new(error))),
        }
    }
}
