//! How a group's records come to be on a NATS server: the defaults behind
//! [`ManagerBuilder::nats`](crate::ManagerBuilder::nats).

use std::sync::Arc;

use parti_core::{Config, Store};
use parti_nats::{NatsOptions, NatsStore};

use crate::error::LaunchError;

/// Connects and opens the group's bucket, with the time-outs of the configuration.
pub(crate) async fn open(url: &str, config: &Config) -> Result<Arc<dyn Store>, LaunchError> {
    let options = NatsOptions::default().request_timeout(config.request_timeout());
    match NatsStore::connect(url, config.group(), options).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(LaunchError::Store(Arc::new(error))),
    }
}
