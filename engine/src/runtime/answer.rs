//! An answer that another thread will give: to be awaited, or waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

/// What the engine's thread will answer; `None` if it stopped before.
#[must_use]
pub struct Answer<T>(Arc<Shared<T>>);

/// The engine's half. Dropped without an answer, the question is answered with `None`.
pub(crate) struct Reply<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    done: bool,
    value: Option<T>,
    waker: Option<Waker>,
}

pub(crate) fn question<T>() -> (Reply<T>, Answer<T>) {
    let state = Mutex::new(State { done: false, value: None, waker: None });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Reply(shared.clone()), Answer(shared))
}

impl<T> Reply<T> {
    pub(crate) fn send(self, value: T) {
        self.0.state.lock().value = Some(value);
        // Dropping tells the other side.
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.state.lock();
            state.done = true;
            state.waker.take()
        };
        self.0.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Answer<T> {
    /// Blocks until the answer is there.
    pub fn wait(self) -> Option<T> {
        let mut state = self.0.state.lock();
        while !state.done {
            self.0.changed.wait(&mut state);
        }
        state.value.take()
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.state.lock();
        if state.done {
            return Poll::Ready(state.value.take());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
