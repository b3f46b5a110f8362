//! The vocabulary shared by every other module: ids, names, addresses, secrets and time.
//!
//! Plain values with their invariants; no IO. Nothing here imports another module of the crate.

mod device;
mod fingerprint;
mod hours;
mod id;
mod quota;
mod reason;
mod secret;
mod stack;
mod text;
mod time;
mod zone;

pub use device::{DeviceId, DeviceKind, MacAddr, MacError};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use hours::{HourRange, Hours, HoursError, Opening};
pub use id::{Cid, IdError, Kid, ServerName, SessionId, Username};
pub use quota::{Bytes, Period, QuotaError, Quotas, parse_bytes};
pub(crate) use reason::words;
pub use reason::{Cause, DenyReason, ExpiryAction, Factor, LockoutScope, ParseNameError};
pub use secret::Password;
pub use stack::{wiped, wiped_if};
pub(crate) use text::is_unsafe;
pub use text::{Printable, ShortText, short_bytes, short_duration, truncate_on_char};
pub use time::{Clock, Moment, Mono, Now, Timestamp, TimestampError, parse_duration};
pub use zone::{Periods, Zone, ZoneError};
