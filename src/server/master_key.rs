//! The master key: given by the operator, or made at the first start and kept in the data directory.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::embedded::DataDir;
use crate::seal::MasterKey;
use crate::store::{Database, domain_keys, factors, keys, relays, webhooks};

const FILE: &str = "master-key";

/// The key of an installation that has been started, for whoever works beside it.
///
/// # Errors
/// There is none here, or it cannot be read.
pub fn existing(config: &Config) -> Result<MasterKey> {
    if let Some(key) = &config.master_key {
        return Ok(key.clone());
    }
    let path = config.data_dir.join(FILE);
    if !path.exists() {
        bail!(
            "there is no master key in {}: give POSTROAD_MASTER_KEY, or start postroad once",
            config.data_dir.display()
        );
    }
    read(&path)
}

/// The key to use.
///
/// # Errors
/// A key file that others can read, or that holds no key; or secrets are sealed with a key that is not here.
pub async fn load(config: &Config, data_dir: &DataDir, database: &Database) -> Result<MasterKey> {
    if let Some(key) = &config.master_key {
        return Ok(key.clone());
    }
    let path = data_dir.path().join(FILE);
    if path.exists() {
        return read(&path);
    }
    if config.database_url.is_some() {
        let mut connection = database.serve().acquire().await?;
        let sealed = relays::any_sealed(&mut connection).await?
            || domain_keys::any_sealed(&mut connection).await?
            || webhooks::any(&mut connection).await?
            || keys::any_sealed(&mut connection).await?
            || factors::any_sealed(&mut connection).await?;
        if sealed {
            bail!(
                "the database holds sealed secrets, and there is no master key in {}: give POSTROAD_MASTER_KEY the key that sealed them",
                data_dir.path().display()
            );
        }
    }
    let key = MasterKey::generate()?;
    write(&path, &key).with_context(|| format!("cannot write {}", path.display()))?;
    tracing::info!(path = %path.display(), "a master key was made; keep a copy of it with your backups");
    Ok(key)
}

fn read(path: &Path) -> Result<MasterKey> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} can be read by others: chmod 600 it, and consider the key known", path.display());
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    MasterKey::parse(&text).with_context(|| path.display().to_string())
}

/// Whole or not at all: a crash must not leave half a key.
fn write(path: &Path, key: &MasterKey) -> Result<()> {
    let partial = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    writeln!(file, "{}", key.to_base64().reveal())?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}
