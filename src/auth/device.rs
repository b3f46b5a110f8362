//! stand-in
use crate::{proto::Env, types::DeviceId};
/// x
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSource(pub Box<str>);
/// x
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceClaim {
    /// x
    pub source: DeviceSource,
    /// x
    pub id: DeviceId,
}
/// x
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad")]
pub struct DeviceError;
/// x
/// # Errors
/// x
pub fn claim(_env: &Env, _sources: &[DeviceSource]) -> Result<Option<DeviceClaim>, DeviceError> {
    Ok(None)
}
