//! Work that takes a core: done on a bounded number of threads beside the runtime, each of which takes the next piece
//! as soon as it has done one. With a semaphore the next piece would be fetched by the runtime, and while that is
//! busy the threads would stand idle. (Threads of a lower priority were tried: accepting gained nothing, and waited
//! longer for the mails that piled up.)

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

pub use rayon::ThreadPoolBuildError as NoCrew;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

/// The threads.
#[derive(Clone, Debug)]
pub struct Crew(Arc<ThreadPool>);

impl Crew {
    /// So many threads.
    ///
    /// # Errors
    /// The operating system does not give them.
    pub fn new(threads: usize) -> Result<Crew, NoCrew> {
        let name = |number| format!("crew-{number}");
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name);
        Ok(Crew(Arc::new(pool.build()?)))
    }

    /// Does one piece, after those that wait already. A panic in it is the caller's. What nobody waits for any more
    /// is not begun.
    pub async fn run<T, W>(&self, work: W) -> T
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.0.spawn_fifo(move || {
            if !tell.is_closed() {
                // Given up meanwhile.
                let _ = tell.send(catch_unwind(AssertUnwindSafe(work)));
            }
        });
        match told.await {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => resume_unwind(panic),
            // The threads have ended, and whoever waits ends with them.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn everything_is_done_by_no_more_than_there_are() {
        let crew = Crew::new(2).expect("threads");
        let (working, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut pieces = JoinSet::new();
        for number in 0..50 {
            let (crew, working, most) = (crew.clone(), Arc::clone(&working), Arc::clone(&most));
            pieces.spawn(async move {
                let work = move || {
                    most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    working.fetch_sub(1, Ordering::SeqCst);
                    number
                };
                crew.run(work).await
            });
        }
        let mut done = pieces.join_all().await;
        done.sort_unstable();
        assert_eq!(done, (0..50).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_panic_is_the_callers_and_the_next_piece_is_done() {
        let crew = Crew::new(1).expect("threads");
        let of_one = tokio::spawn({
            let crew = crew.clone();
            async move { crew.run(|| panic!("of this piece")).await }
        });
        assert!(of_one.await.is_err_and(|error| error.is_panic()));
        assert_eq!(crew.run(|| 7).await, 7);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let crew = Crew::new(1).expect("threads");
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let crew = crew.clone();
            async move { crew.run(move || held.recv().is_ok()).await }
        });
        tokio::task::yield_now().await;
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let given_up = crew.run(move || counted.fetch_add(1, Ordering::SeqCst));
        assert!(tokio::time::timeout(Duration::from_millis(10), given_up).await.is_err());
        release.send(()).unwrap();
        assert!(first.await.unwrap());
        crew.run(|| ()).await;
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }
}
