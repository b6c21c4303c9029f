//! What Prometheus can ask of the process.
//!
//! Each part of the program counts with the `metrics` macros; this is where the numbers are
//! gathered and printed.
//!
//! Not here: what is counted, which the counting part decides.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use plimsoll_engine::deps::Deps;

/// Seconds that divide the buckets of every duration.
const DURATION_BUCKETS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// How often single measurements are folded into buckets, so that they do not pile up unread.
const UPKEEP: Duration = Duration::from_secs(5);

/// The numbers of this process.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    /// Gathers what the whole process counts; servers of one process share the numbers.
    pub(crate) fn of_process() -> Self {
        static PROCESS: OnceLock<Metrics> = OnceLock::new();
        PROCESS.get_or_init(Self::install).clone()
    }

    fn install() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&DURATION_BUCKETS)
            .expect("there are buckets")
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("something else gathers the metrics of this process");
        }
        Self(handle)
    }

    /// Folds measurements until the tasks of `deps` are stopped.
    pub(crate) fn keep_up(&self, deps: &Deps) {
        let handle = self.0.clone();
        let clock = std::sync::Arc::clone(&deps.clock);
        let mut stopping = Box::pin(deps.tasks.stopping());
        deps.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = &mut stopping => return,
                    () = clock.sleep(UPKEEP) => handle.run_upkeep(),
                }
            }
        });
    }

    /// The numbers in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        self.0.render()
    }
}
