//! Every bound of the protocol in one place.

/// Longest line from the server, in bytes without its LF. OpenVPN's own buffer is 10,240
/// (`ERR_BUF_SIZE`, error.h); a line that lost its line end can merge with the next one.
pub const MAX_LINE: usize = 16 << 10;
/// Most variables in one block. A real one has 45 to 120.
pub const MAX_VARIABLES: usize = 1_024;
/// Most bytes of names and values in one block. A real one has about 2,500.
pub const MAX_BLOCK_BYTES: usize = 128 << 10;
/// Most clients in one `status` list; OpenVPN's `max-clients` is 1,024 unless set.
pub const MAX_STATUS_CLIENTS: usize = 65_536;
/// Most bytes of one `status` list: OpenVPN prints no line over 511 (`STATUS_PRINTF_MAXLEN`,
/// status.h).
pub const MAX_STATUS_BYTES: usize = 32 << 20;
/// Most lines of a `state` reply; OpenVPN keeps 100.
pub const MAX_STATES: usize = 1_024;
/// Longest command line to the server, in bytes with its LF. OpenVPN reads into 1,024 bytes in
/// chunks of 256, and a line over 769 can destroy its neighbours (protocol notes, 3.1).
pub const MAX_COMMAND_LINE: usize = 768;
/// Longest parameter, in bytes before escaping. Measured on OpenVPN 2.6.14: `client-deny 1 0
/// "aaa…"` is taken with 256 bytes and refused as too long with 257; escapes do not count.
pub const MAX_PARAMETER: usize = 256;
/// Most words of one line; OpenVPN does not read further (`MAX_PARMS`, options.h).
pub const MAX_PARAMETERS: usize = 16;
/// Longest line of a `client-auth` body, in bytes without its LF: OpenVPN splits a longer one
/// (`OPTION_LINE_SIZE`, options.h) and ignores both halves.
pub const MAX_CONFIG_LINE: usize = 255;
/// Longest parameter after escaping: two of them and their command stay under
/// [`MAX_COMMAND_LINE`].
pub const MAX_ESCAPED: usize = 340;
