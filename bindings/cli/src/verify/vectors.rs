//! Scenarios of the repository over HTTP.

use super::session::{Checked, Session, not_run};

/// What was given with `--vectors`.
#[derive(Default)]
pub(super) struct Vectors;

pub(super) async fn run(_session: &mut Session, _vectors: &Vectors) -> Checked {
    not_run("give scenario files with --vectors")
}

impl Vectors {
    pub(super) fn read(
        _: Option<&std::path::Path>,
        _: &super::plan::Plan,
    ) -> Result<Vectors, crate::exit::Failure> {
        Ok(Vectors)
    }
}
