//! Starts drivers, on each kind of store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tollgate::PolicyConfig;
use tollgate_scenario::{StepError, Surfaces};

use crate::driver::Driver;
use crate::surface::{Program, json};

/// Which functions decide and finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `tollgate_decide` and `tollgate_finish`.
    OneCall,
    /// `tollgate_operation_…`.
    Steps,
}

/// Which stores there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// In memory.
    Memory,
    /// In a map of the driver's own, which meets conflicts.
    HostMap,
    /// On disk.
    Lmdb,
    /// Limits in a region of shared memory, the rest on disk.
    RegionAndLmdb,
    /// On the server at this port of 127.0.0.1, under a fresh prefix each. In steps, over sockets of the driver's own.
    Redis {
        /// The server's port.
        port: u16,
        /// Whether limits that span accounts go the long way of a cluster.
        as_cluster: bool,
    },
}

/// Starts drivers that decide in this form on such stores.
#[derive(Clone, Copy, Debug)]
pub struct Through(pub Form, pub Stores);

static PREFIXES: AtomicU64 = AtomicU64::new(0);

impl Through {
    fn open(
        self,
        driver: &mut Driver,
        directory: Option<TempDir>,
    ) -> Result<Option<TempDir>, StepError> {
        let on_disk = |directory: Option<TempDir>| match directory {
            Some(directory) => Ok(directory),
            None => TempDir::new().map_err(StepError::of),
        };
        let no_utf8 = || StepError::new("the temporary directory's path is not UTF-8");
        match self.1 {
            Stores::Memory => driver.open_memory()?,
            Stores::HostMap => driver.open_host()?,
            Stores::Redis { port, as_cluster } => {
                let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
                let prefix = format!("c{}-{number}", std::process::id());
                driver.open_redis(port, &prefix, as_cluster)?;
            }
            Stores::Lmdb => {
                let directory = on_disk(directory)?;
                driver.open_lmdb(directory.path().to_str().ok_or_else(no_utf8)?)?;
                return Ok(Some(directory));
            }
            Stores::RegionAndLmdb => {
                let directory = on_disk(directory)?;
                driver.open_composite(directory.path().to_str().ok_or_else(no_utf8)?)?;
                return Ok(Some(directory));
            }
        }
        Ok(None)
    }
}

impl Surfaces for Through {
    type Surface = Program;

    fn start(&self, policy: PolicyConfig) -> Result<Program, StepError> {
        let mut driver = Driver::new(&json(&policy)?, self.0 == Form::Steps)?;
        let directory = self.open(&mut driver, None)?;
        Ok(Program { driver: Arc::new(driver), directory })
    }

    fn restart(&self, Program { driver, directory }: Program) -> Result<Program, StepError> {
        let mut driver = Arc::into_inner(driver)
            .ok_or_else(|| StepError::new("a decision of before holds the store"))?;
        driver.close_store();
        let directory = self.open(&mut driver, directory)?;
        Ok(Program { driver: Arc::new(driver), directory })
    }

    fn keeps_state(&self) -> bool {
        matches!(self.1, Stores::Lmdb | Stores::RegionAndLmdb)
    }
}
