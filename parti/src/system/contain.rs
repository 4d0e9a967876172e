//! Code of the user's, contained: a call, its future and the drop of that future may each panic.
//!
//! It is separate because every task that runs such code owes somebody an answer, and a panic must be
//! one. What always holds: nothing in here panics for what the user's code does, also when a future
//! that is cut short panics in a destructor, where `catch_unwind` around the future alone sees nothing.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

/// How a contained future ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ran<T> {
    /// With its value.
    Done(T),
    /// By a panic; with what words.
    Panicked(String),
    /// It was cut short, and perhaps panicked when it was dropped.
    Cut { panic: Option<String> },
}

/// Runs a future until it ends or `cut` does, and drops it. Build the future in an `async` block, so
/// that the call that makes it is contained as well.
pub(crate) async fn run<F: Future>(body: F, cut: impl Future<Output = ()>) -> Ran<F::Output> {
    let mut body = Box::pin(AssertUnwindSafe(body).catch_unwind());
    let result = tokio::select! {
        biased;
        result = &mut body => Some(result),
        () = cut => None,
    };
    let panic = drop_contained(body);
    match result {
        Some(Ok(value)) => {
            if let Some(panic) = panic {
                tracing::error!(panic, "a future panicked when it was dropped after its end");
            }
            Ran::Done(value)
        }
        Some(Err(panic)) => Ran::Panicked(words(panic)),
        None => Ran::Cut { panic },
    }
}

/// The answer that a task owes, whatever its code does: its own, or what is made of the panic's words.
pub(crate) async fn answer<F: Future>(
    task: F,
    lost: impl FnOnce(String) -> F::Output,
) -> F::Output {
    match run(task, std::future::pending()).await {
        Ran::Done(answer) => answer,
        Ran::Panicked(words) => lost(words),
        Ran::Cut { panic } => lost(panic.unwrap_or_default()),
    }
}

/// What a panic said.
pub(crate) fn words(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    // What it carries is the user's as well.
    drop_contained(panic);
    text.unwrap_or_else(|| "a value that is not text".to_owned())
}

/// Drops a value; what its destructor said if it panicked.
fn drop_contained<T>(value: T) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(value))).err()?;
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    // A payload whose destructor panics in turn is leaked rather than dropped again.
    std::mem::forget(panic);
    Some(text.unwrap_or_else(|| "a value that is not text".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    struct Boom;

    impl Drop for Boom {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "dropped");
        }
    }

    /// A payload that panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any("a bomb");
        }
    }

    /// A task that ends without an answer leaves its caller waiting for ever.
    #[tokio::test]
    async fn every_way_to_end_is_told() {
        let cut = || ready(());
        assert_eq!(run(ready(7), pending()).await, Ran::Done(7));
        let panics = async { panic!("boom") };
        let said = Ran::Panicked("boom".to_owned());
        assert_eq!(run::<_>(panics, pending()).await, said as Ran<()>);
        let hangs = run(pending::<()>(), cut()).await;
        assert_eq!(hangs, Ran::Cut { panic: None });
        let drops = run(
            async {
                let _boom = Boom;
                pending::<()>().await;
            },
            async { tokio::task::yield_now().await },
        );
        let panic = Some("dropped".to_owned());
        assert_eq!(drops.await, Ran::Cut { panic });
        let bomb = async { std::panic::panic_any(Bomb) };
        let said = Ran::Panicked("a value that is not text".to_owned());
        assert_eq!(run::<_>(bomb, pending()).await, said as Ran<()>);
        assert_eq!(
            answer(async { panic!("boom") }, |words| words).await,
            "boom"
        );
    }
}
