//! The trait, by the inherent functions of the other modules.

use std::net::IpAddr;

use async_trait::async_trait;

use super::{Connector, Question, SqlStore, claim::Wanted};
use crate::{
    store::{
        ActivityKey, Actor, AuditRecord, AuthEvent, Change, Claim, CommandAction, CommandId,
        ConfigOwner, DeviceRecord, DeviceStatus, DeviceUse, EndedCursor, EndedSession,
        EnrolmentTerms, FactTrace, Facts, ForeignRow, ForeignTable, GrantRecord, HourSum,
        ImportNote, Imported, ImportedUser, Lockout, Migrated, NewAuthEvent, NewDevice, NewLine,
        NewSecondFactor, NewUser, OpenSessions, PendingCommands, Place, Policies, PolicyChange,
        PolicyRecord, QuotaGrant, Schema, SecondFactorStatus, ServerRecord, SessionFilter,
        SessionRecord, SpanCursor, SpanPage, Standing, Store, StoreError, StoredLine, Traces,
        Usage, UsedCode, UserPatch, UserRecord, Watch,
    },
    types::{DeviceId, Fingerprint, Periods, ServerName, SessionId, Timestamp, Username},
};

#[async_trait]
impl<C: Connector> Store for SqlStore<C> {
    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }

    fn traces(&self) -> Option<Traces> {
        self.pool.connector.traces()
    }

    fn watch(&self, kept: Option<Watch>) -> Option<Watch> {
        self.pool.connector.watch(kept)
    }

    async fn fact_trace(&self) -> Result<Option<FactTrace>, StoreError> {
        self.timed("fact_trace", Self::fact_trace(self)).await
    }

    async fn pulse(&self) -> Result<Option<Traces>, StoreError> {
        self.timed("pulse", Self::pulse(self)).await
    }

    async fn schema(&self) -> Result<Schema, StoreError> {
        Self::schema(self).await
    }

    async fn migrate(&self, dry_run: bool) -> Result<Migrated, StoreError> {
        Self::migrate(self, dry_run).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }

    async fn facts(
        &self,
        user: &Username,
        device: Option<&DeviceId>,
        certificate: Option<&Fingerprint>,
        now: Timestamp,
    ) -> Result<Option<Facts>, StoreError> {
        let question = Question {
            user: user.clone(),
            device: device.cloned(),
            certificate: certificate.copied(),
            now,
        };
        self.timed("facts", self.asking.facts(question)).await
    }

    async fn usage(
        &self,
        users: &[(Username, Periods)],
        now: Timestamp,
    ) -> Result<Vec<Usage>, StoreError> {
        self.timed("usage", Self::usage(self, users, now)).await
    }

    async fn fold_usage(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.timed("fold_usage", Self::fold_usage(self, before, limit)).await
    }

    async fn add_auth_events(
        &self,
        events: &[NewAuthEvent],
        origin: &str,
    ) -> Result<(), StoreError> {
        self.timed("add_auth_events", Self::add_auth_events(self, events, origin)).await
    }

    async fn auth_events(
        &self,
        since: Timestamp,
        origin: &str,
    ) -> Result<Vec<AuthEvent>, StoreError> {
        self.timed("auth_events", Self::auth_events(self, since, origin)).await
    }

    async fn remove_auth_events(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.timed("remove_auth_events", Self::remove_auth_events(self, before, limit)).await
    }

    async fn add_lockouts(&self, lockouts: &[Lockout]) -> Result<(), StoreError> {
        self.timed("add_lockouts", Self::add_lockouts(self, lockouts)).await
    }

    async fn lockouts(&self, now: Timestamp) -> Result<Vec<Lockout>, StoreError> {
        Self::lockouts(self, now).await
    }

    async fn clear_lockouts(
        &self,
        user: Option<&Username>,
        network: Option<IpAddr>,
        by: &Actor,
    ) -> Result<u64, StoreError> {
        Self::clear_lockouts(self, user, network, by).await
    }

    async fn grant_quota(&self, grant: &QuotaGrant, by: &Actor) -> Result<(), StoreError> {
        Self::grant_quota(self, grant, by).await
    }

    async fn grants(
        &self,
        user: &Username,
        now: Timestamp,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        Self::grants(self, user, now).await
    }

    async fn revoke_grant(&self, user: &Username, id: i64, by: &Actor) -> Result<(), StoreError> {
        Self::revoke_grant(self, user, id, by).await
    }

    async fn enrol_device(
        &self,
        device: &NewDevice,
        terms: EnrolmentTerms,
        by: &Actor,
    ) -> Result<Option<DeviceStatus>, StoreError> {
        self.timed("enrol_device", Self::enrol_device(self, device, terms, by)).await
    }

    async fn open_enrolment(
        &self,
        user: &Username,
        until: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::open_enrolment(self, user, until, by).await
    }

    async fn enrolment(
        &self,
        user: &Username,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        Self::enrolment(self, user, now).await
    }

    async fn claim(&self, claim: &Claim<'_>, now: Timestamp) -> Result<Place, StoreError> {
        self.timed("claim", self.claiming.claim(Wanted::new(claim, now))).await
    }

    async fn forget_claim(&self, session: SessionId) -> Result<(), StoreError> {
        self.timed("forget_claim", self.claiming.forget(session)).await
    }

    async fn has_place(&self, claim: &Claim<'_>, now: Timestamp) -> Result<bool, StoreError> {
        self.timed("has_place", Self::has_place(self, claim, now)).await
    }

    async fn upgrade_hash(
        &self,
        user: &Username,
        old: &str,
        new: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.timed("upgrade_hash", Self::upgrade_hash(self, user, old, new, now)).await
    }

    async fn take_code(&self, user: i64, code: &UsedCode) -> Result<bool, StoreError> {
        self.timed("take_code", Self::take_code(self, user, code)).await
    }

    async fn has_recovery_code(&self, user: i64, digest: &str) -> Result<bool, StoreError> {
        self.timed("has_recovery_code", Self::has_recovery_code(self, user, digest)).await
    }

    async fn persist(&self, sessions: &[SessionRecord]) -> Result<(), StoreError> {
        self.timed("persist", Self::persist(self, sessions)).await
    }

    async fn mark_servers(&self, servers: &[ServerRecord]) -> Result<(), StoreError> {
        self.timed("mark_servers", Self::mark_servers(self, servers)).await
    }

    async fn open_sessions(&self, server: &ServerName) -> Result<OpenSessions, StoreError> {
        self.timed("open_sessions", Self::open_sessions(self, server)).await
    }

    async fn standings(&self, servers: &[ServerName]) -> Result<Vec<Standing>, StoreError> {
        self.timed("standings", Self::standings(self, servers)).await
    }

    async fn many_standings(&self, servers: &[ServerName]) -> Result<Vec<Standing>, StoreError> {
        self.timed("many_standings", Self::many_standings(self, servers)).await
    }

    async fn standings_of(&self, users: &[Username]) -> Result<Vec<Standing>, StoreError> {
        self.timed("standings_of", Self::standings_of(self, users)).await
    }

    async fn changes(&self, after: Option<i64>) -> Result<Vec<Change>, StoreError> {
        self.timed("changes", Self::changes(self, after)).await
    }

    async fn pending_commands(
        &self,
        servers: &[ServerName],
    ) -> Result<PendingCommands, StoreError> {
        self.timed("pending_commands", Self::pending_commands(self, servers)).await
    }

    async fn complete_commands(&self, ids: &[CommandId], now: Timestamp) -> Result<(), StoreError> {
        self.timed("complete_commands", Self::complete_commands(self, ids, now)).await
    }

    async fn add_user(&self, user: &NewUser, by: &Actor) -> Result<(), StoreError> {
        Self::add_user(self, user, by).await
    }

    async fn foreign(&self, table: ForeignTable) -> Result<Vec<ForeignRow>, StoreError> {
        Self::foreign(self, table).await
    }

    async fn import_users(
        &self,
        users: &[ImportedUser],
        note: ImportNote<'_>,
        by: &Actor,
        progress: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Imported, StoreError> {
        Self::import_users(self, users, note, by, progress).await
    }

    async fn user(&self, name: &Username) -> Result<Option<UserRecord>, StoreError> {
        Self::user(self, name).await
    }

    async fn users(
        &self,
        after: Option<&Username>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, StoreError> {
        Self::users(self, after, limit).await
    }

    async fn password_hashes(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Result<Option<String>, StoreError>)>, StoreError> {
        Self::password_hashes(self, after, limit).await
    }

    async fn nobodys_rows(&self) -> Result<Vec<(String, u64)>, StoreError> {
        Self::nobodys_rows(self).await
    }

    async fn patch_user(
        &self,
        name: &Username,
        patch: &UserPatch,
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::patch_user(self, name, patch, by).await
    }

    async fn remove_user(&self, name: &Username, by: &Actor) -> Result<(), StoreError> {
        Self::remove_user(self, name, by).await
    }

    async fn put_second_factor(
        &self,
        user: &Username,
        factor: &NewSecondFactor,
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::put_second_factor(self, user, factor, by).await
    }

    async fn put_recovery_codes(
        &self,
        user: &Username,
        digests: &[String],
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::put_recovery_codes(self, user, digests, by).await
    }

    async fn remove_second_factor(&self, user: &Username, by: &Actor) -> Result<(), StoreError> {
        Self::remove_second_factor(self, user, by).await
    }

    async fn second_factor(
        &self,
        user: &Username,
    ) -> Result<Option<SecondFactorStatus>, StoreError> {
        Self::second_factor(self, user).await
    }

    async fn add_device(&self, device: &NewDevice, by: &Actor) -> Result<(), StoreError> {
        Self::add_device(self, device, by).await
    }

    async fn devices(
        &self,
        user: Option<&Username>,
        limit: u32,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        Self::devices(self, user, limit).await
    }

    async fn set_device_status(
        &self,
        user: &Username,
        device: &DeviceId,
        status: DeviceStatus,
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::set_device_status(self, user, device, status, by).await
    }

    async fn set_device_end(
        &self,
        user: &Username,
        device: &DeviceId,
        until: Option<Timestamp>,
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::set_device_end(self, user, device, until, by).await
    }

    async fn remove_device(
        &self,
        user: &Username,
        device: &DeviceId,
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::remove_device(self, user, device, by).await
    }

    async fn put_policy(
        &self,
        policy: &PolicyRecord,
        replace: bool,
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::put_policy(self, policy, replace, by).await
    }

    async fn policy(&self, name: &str) -> Result<Option<PolicyRecord>, StoreError> {
        Self::policy(self, name).await
    }

    async fn change_policy(
        &self,
        name: &str,
        change: PolicyChange<'_>,
        by: &Actor,
    ) -> Result<PolicyRecord, StoreError> {
        Self::change_policy(self, name, change, by).await
    }

    async fn policies(&self) -> Result<Policies, StoreError> {
        Self::policies(self).await
    }

    async fn remove_policy(&self, name: &str, by: &Actor) -> Result<(), StoreError> {
        Self::remove_policy(self, name, by).await
    }

    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRecord>, StoreError> {
        Self::sessions(self, filter).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        Self::session(self, id).await
    }

    async fn sessions_by_prefix(&self, prefix: &str) -> Result<Vec<SessionRecord>, StoreError> {
        Self::sessions_by_prefix(self, prefix).await
    }

    async fn spans(
        &self,
        user: Option<&Username>,
        since: Timestamp,
        until: Timestamp,
        from: SpanCursor,
    ) -> Result<SpanPage, StoreError> {
        Self::spans(self, user, since, until, from).await
    }

    async fn expiring_sessions(
        &self,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        Self::expiring_sessions(self, until, limit).await
    }

    async fn device_uses(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<DeviceUse>, StoreError> {
        self.timed("device_uses", Self::device_uses(self, since, limit)).await
    }

    async fn retentions(&self) -> Result<Vec<u32>, StoreError> {
        self.timed("retentions", Self::retentions(self)).await
    }

    async fn ended(
        &self,
        after: Option<&EndedCursor>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<EndedSession>, StoreError> {
        self.timed("ended", Self::ended(self, after, before, limit)).await
    }

    async fn remove_sessions(&self, sessions: &[SessionId]) -> Result<u64, StoreError> {
        self.timed("remove_sessions", Self::remove_sessions(self, sessions)).await
    }

    async fn request(
        &self,
        session: SessionId,
        action: &CommandAction,
        by: &Actor,
    ) -> Result<CommandId, StoreError> {
        Self::request(self, session, action, by).await
    }

    async fn close_session(
        &self,
        session: SessionId,
        seen_before: Timestamp,
        by: &Actor,
    ) -> Result<SessionRecord, StoreError> {
        Self::close_session(self, session, seen_before, by).await
    }

    async fn client_config(&self, owner: &ConfigOwner) -> Result<Vec<StoredLine>, StoreError> {
        Self::client_config(self, owner).await
    }

    async fn put_client_config(
        &self,
        owner: &ConfigOwner,
        before: &[StoredLine],
        after: &[NewLine],
        by: &Actor,
    ) -> Result<(), StoreError> {
        Self::put_client_config(self, owner, before, after, by).await
    }

    async fn add_activity(&self, counts: &[(ActivityKey, u64)]) -> Result<(), StoreError> {
        self.timed("add_activity", Self::add_activity(self, counts)).await
    }

    async fn activity(&self, since: Timestamp) -> Result<Vec<HourSum>, StoreError> {
        self.timed("activity", Self::activity(self, since)).await
    }

    async fn remove_activity(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.timed("remove_activity", Self::remove_activity(self, before, limit)).await
    }

    async fn audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        Self::audit(self, limit).await
    }

    async fn audit_of(&self, target: &str, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        Self::audit_of(self, target, limit).await
    }

    async fn auth_events_of(
        &self,
        user: &Username,
        limit: u32,
    ) -> Result<Vec<AuthEvent>, StoreError> {
        Self::auth_events_of(self, user, limit).await
    }

    async fn command_handled(&self, id: CommandId) -> Result<Option<Timestamp>, StoreError> {
        Self::command_handled(self, id).await
    }
}
