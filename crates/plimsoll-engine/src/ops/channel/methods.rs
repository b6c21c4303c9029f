//! What can be done with channels, and how the dispatcher comes to know them.

use std::{num::NonZeroU32, sync::Arc};

use plimsoll_core::{
    ids::{ApiKeyId, ChannelId, EnvironmentId},
    limits,
};
use url::Url;

use crate::{
    catalogue::{Catalogue, EnvironmentView, index::Versioned},
    delivery::{
        channels::{self, ChannelRegistry},
        dispatcher::ChannelEvents,
        formats::Format,
        guard::vet_header,
        signature::Secret,
    },
    deps::BoxFuture,
    ops::{
        Caller, Context, Inner, Ops,
        channel::{
            Channel, ChannelFormat, CreateChannel, CreatedChannel, RotateSecret, StoredChannel,
            UpdateChannel,
        },
        outcome,
        page::{ListRequest, Page},
        plan::{Answer, ControlPlan, Draft, json},
        problem::{Problem, ProblemCode},
    },
    vault::Vault,
};

/// Who the audit trail says disabled a channel whose receiver is gone.
const DISPATCHER: &str = "dispatcher";

/// A stored channel cannot be made ready to send. The detail never holds a secret.
#[derive(Debug, thiserror::Error)]
#[error("the channel {channel} cannot be used: {detail}")]
struct UnusableChannel {
    channel: ChannelId,
    detail: String,
}

impl Ops {
    /// Makes a channel. Its secret is in the answer and nowhere else.
    pub async fn create_channel(
        &self,
        context: &Context,
        request: CreateChannel,
    ) -> Result<CreatedChannel, Problem> {
        self.once(context, async {
            let secret = self.secret_or_new(request.secret.clone())?;
            let id = self.mint(ChannelId::from_parts);
            let Inner { vault, allow, .. } = self.inner.as_ref();
            let stored = request.into_stored(id, self.machine_now(), &secret, vault, allow)?;
            self.control(context, |view, draft| {
                view.channels.check_room(limits::CHANNELS)?;
                draft.insert(&stored, None);
                audit(draft, "channel.create", None, Some(&stored));
                let channel = stored.channel.clone();
                let shown = channel.clone();
                let created = CreatedChannel { channel, secret: secret.clone() };
                let answer = Answer::with_secret(created, outcome::CREATED, &shown);
                Ok(put(ControlPlan::new(answer), draft.environment, 1, stored.clone()))
            })
            .await
        })
        .await
    }

    /// The channel with this id.
    pub fn get_channel(&self, context: &Context, name: &str) -> Result<Channel, Problem> {
        Ok(find_channel(&*self.view(context)?, name)?.document.channel.clone())
    }

    /// Channels, the oldest first.
    pub fn list_channels(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<Channel>, Problem> {
        Ok(self.view(context)?.channels.page(request)?.map(|it| it.document.channel.clone()))
    }

    /// Changes a channel.
    pub async fn update_channel(
        &self,
        context: &Context,
        name: &str,
        request: UpdateChannel,
    ) -> Result<Channel, Problem> {
        self.once(context, async {
            let Inner { vault, allow, .. } = self.inner.as_ref();
            self.control(context, |view, draft| {
                let Versioned { version, document: before } = find_channel(view, name)?;
                let after = request.clone().apply(before, self.machine_now(), vault, allow)?;
                draft.update(*version, &after, None);
                audit(draft, "channel.update", Some(before), Some(&after));
                let answer = Answer::changed(after.channel.clone());
                Ok(put(ControlPlan::new(answer), draft.environment, version + 1, after))
            })
            .await
        })
        .await
    }

    /// Gives a channel a new secret, which is in the answer. The old one signs beside it for
    /// [`limits::SECRET_OVERLAP_MS`].
    pub async fn rotate_channel_secret(
        &self,
        context: &Context,
        name: &str,
        request: RotateSecret,
    ) -> Result<CreatedChannel, Problem> {
        self.once(context, async {
            let secret = self.secret_or_new(request.secret)?;
            self.control(context, |view, draft| {
                let Versioned { version, document: before } = find_channel(view, name)?;
                let after = before.rotated(&secret, self.machine_now(), &self.inner.vault);
                draft.update(*version, &after, None);
                audit(draft, "channel.rotate_secret", Some(before), Some(&after));
                let channel = after.channel.clone();
                let created = CreatedChannel { channel, secret: secret.clone() };
                let answer = Answer::with_secret(created, outcome::OK, &after.channel);
                Ok(put(ControlPlan::new(answer), draft.environment, version + 1, after))
            })
            .await
        })
        .await
    }

    /// Deletes a channel that no rule names. What waits for it is given up.
    pub async fn delete_channel(&self, context: &Context, name: &str) -> Result<(), Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let channel = find_channel(view, name)?;
                let id = channel.document.channel.id;
                let naming = view.rules.iter().find(|it| it.document.rule.channels.contains(&id));
                if let Some(rule) = naming {
                    let detail = format!("the rule {:?} names it", rule.document.rule.name);
                    return Err(Problem::new(ProblemCode::ChannelInUse, detail));
                }
                draft.delete(channel);
                audit(draft, "channel.delete", Some(&channel.document), None);
                Ok(ControlPlan::new(Answer::deleted())
                    .view(draft.environment, move |it| Arc::make_mut(&mut it.channels).remove(id))
                    .then(move |ops| ops.channels.remove(id)))
            })
            .await
        })
        .await
    }

    fn secret_or_new(&self, given: Option<String>) -> Result<String, Problem> {
        let Some(secret) = given else {
            return Ok(Secret::generate(self.inner.deps.random.as_ref()));
        };
        match Secret::parse(&secret, None) {
            Ok(_) => Ok(secret),
            Err(error) => Err(Problem::at(ProblemCode::InvalidSecret, "secret", error.to_string())),
        }
    }
}

/// Hands every committed channel to the dispatcher's registry. One that cannot be made ready is
/// left out, and said so: the others must not wait for it.
pub fn register(catalogue: &Catalogue, registry: &ChannelRegistry, vault: &Vault) {
    for view in catalogue.snapshot().environments() {
        let environment = view.environment.document.id;
        for entry in view.channels.iter() {
            match ready(&entry.document, environment, vault) {
                Ok(channel) => registry.put(channel),
                Err(error) => tracing::error!(%error, "a channel is left out"),
            }
        }
    }
}

impl ChannelEvents for Ops {
    fn gone(&self, channel: ChannelId) -> BoxFuture<'static, ()> {
        let ops = self.clone();
        Box::pin(async move {
            match ops.disable_gone(channel).await {
                Ok(()) => tracing::info!(channel.id = %channel, "the receiver is gone: disabled"),
                // The dispatcher asks again at the next 410.
                Err(error) => {
                    tracing::warn!(channel.id = %channel, %error, "a channel was not disabled");
                }
            }
        })
    }
}

impl Ops {
    /// Disables a channel whose receiver says that it is gone for good.
    async fn disable_gone(&self, id: ChannelId) -> Result<(), Problem> {
        let snapshot = self.inner.catalogue.snapshot();
        let view = snapshot.environments().find(|it| it.channels.get(id).is_some());
        let Some(view) = view else { return Ok(()) };
        let environment = view.environment.document.id;
        let caller = Caller { key: ApiKeyId::from_bits(0), environment, scopes: Vec::new() };
        let now = self.inner.deps.clock.now();
        let context = Context { caller, idempotency: None, now };
        let disabled = self.control(&context, |view, draft| {
            DISPATCHER.clone_into(&mut draft.actor);
            let name = id.to_string();
            let Versioned { version, document: before } = find_channel(view, &name)?;
            let mut after = before.clone();
            after.channel.disabled = true;
            after.channel.updated_at = now;
            draft.update(*version, &after, None);
            audit(draft, "channel.disable", Some(before), Some(&after));
            Ok(put(ControlPlan::new(Answer::changed(())), environment, version + 1, after))
        });
        disabled.await
    }
}

/// The plan that also shows the stored channel to the catalogue and to the dispatcher.
fn put<T>(
    plan: ControlPlan<T>,
    environment: EnvironmentId,
    version: i64,
    stored: StoredChannel,
) -> ControlPlan<T> {
    let document = stored.clone();
    plan.view(environment, move |it| {
        Arc::make_mut(&mut it.channels).put(Versioned { version, document });
    })
    .then(move |ops| match ready(&stored, environment, &ops.vault) {
        Ok(channel) => ops.channels.put(channel),
        Err(error) => tracing::error!(%error, "a committed channel is not ready to send"),
    })
}

/// The audit trail shows what the API shows: no secrets, sealed or not.
fn audit(
    draft: &mut Draft,
    action: &'static str,
    before: Option<&StoredChannel>,
    after: Option<&StoredChannel>,
) {
    let id = after.or(before).map(|it| it.channel.id.to_string()).unwrap_or_default();
    let shown = |it: Option<&StoredChannel>| it.map(|it| json(&it.channel));
    draft.audit_as(action, "channel", id, shown(before), shown(after));
}

/// The channel as the dispatcher needs it.
fn ready(
    stored: &StoredChannel,
    environment: EnvironmentId,
    vault: &Vault,
) -> Result<channels::Channel, UnusableChannel> {
    let channel = &stored.channel;
    let unusable = |detail: String| UnusableChannel { channel: channel.id, detail };
    let secrets = stored.secrets.iter().map(|it| {
        let text = it.sealed.open(vault, channel.id).map_err(|it| unusable(it.to_string()))?;
        Secret::parse(&text, it.expires_at).map_err(|it| unusable(it.to_string()))
    });
    let headers = stored.open_headers(vault).map_err(|it| unusable(it.to_string()))?;
    let headers = headers.iter().map(|(name, value)| {
        vet_header(name, value).map_err(|it| unusable(format!("header {name}: {it}")))
    });
    Ok(channels::Channel {
        id: channel.id,
        environment,
        name: channel.name.clone(),
        // Judged when it was given; the client judges the address again when it connects.
        url: Url::parse(&channel.url).map_err(|it| unusable(it.to_string()))?,
        headers: headers.collect::<Result<_, _>>()?,
        secrets: secrets.collect::<Result<_, _>>()?,
        format: match channel.format {
            ChannelFormat::Plimsoll => Format::Plimsoll,
        },
        disabled: channel.disabled,
        event_types: channel.event_types.clone(),
        rate_limit: channel.rate_limit.and_then(NonZeroU32::new),
    })
}

/// The channel with this id, in one environment.
fn find_channel<'a>(
    view: &'a EnvironmentView,
    name: &str,
) -> Result<&'a Versioned<StoredChannel>, Problem> {
    view.channels.find(name).ok_or_else(|| Problem::not_found("channel", name))
}
