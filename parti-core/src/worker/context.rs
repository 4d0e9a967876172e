//! What a worker's handlers get beside the context of everything: what it holds, and what it asks.
//!
//! It is separate because both outlive the session: callbacks of a lost session may still run, and
//! what was asked under it is asked again under the next.

use core::ops::{Deref, DerefMut};

use crate::link::cx::Cx;
use crate::worker::holdings::Holdings;
use crate::worker::requests::Requests;

/// One step's view of a worker: a [`Cx`] with what outlives its session.
pub(crate) struct WorkerCx<'a> {
    pub(crate) cx: Cx<'a>,
    pub(crate) holdings: &'a mut Holdings,
    pub(crate) requests: &'a mut Requests,
}

impl<'a> Deref for WorkerCx<'a> {
    type Target = Cx<'a>;

    fn deref(&self) -> &Cx<'a> {
        &self.cx
    }
}

impl<'a> DerefMut for WorkerCx<'a> {
    fn deref_mut(&mut self) -> &mut Cx<'a> {
        &mut self.cx
    }
}
