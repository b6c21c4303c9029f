//! What can be done with meters.

use std::sync::Arc;

use plimsoll_core::{command::ControlCommand, ids::MeterId, limits};

use crate::{
    catalogue::index::Versioned,
    ops::{
        Context, Ops,
        meter::{CreateMeter, Meter, UpdateMeter, find_meter},
        page::{ListRequest, Page},
        plan::{Answer, ControlPlan},
        problem::{Problem, ProblemCode},
    },
};

impl Ops {
    /// Makes a meter. It counts what is accepted from now on.
    pub async fn create_meter(
        &self,
        context: &Context,
        request: CreateMeter,
    ) -> Result<Meter, Problem> {
        self.once(context, async {
            let meter = request.into_document(self.mint(MeterId::from_parts), context.now)?;
            self.control(context, |view, draft| {
                view.meters.check_free(&meter.key)?;
                view.meters.check_room(limits::METERS)?;
                draft.insert(&meter, Some(&meter.key));
                draft.audit("meter.create", None, Some(&meter));
                let command = ControlCommand::PutMeter(meter.to_core(draft.environment)?);
                let entry = Versioned { version: 1, document: meter.clone() };
                Ok(ControlPlan::new(Answer::created(meter.clone()))
                    .command(command)
                    .view(draft.environment, |it| Arc::make_mut(&mut it.meters).put(entry)))
            })
            .await
        })
        .await
    }

    /// The meter with this key or id.
    pub fn get_meter(&self, context: &Context, name: &str) -> Result<Meter, Problem> {
        Ok(find_meter(&*self.view(context)?, name)?.document.clone())
    }

    /// Meters, the oldest first.
    pub fn list_meters(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<Meter>, Problem> {
        Ok(self.view(context)?.meters.page(request)?.map(|it| it.document.clone()))
    }

    /// Changes a meter's name or metadata.
    pub async fn update_meter(
        &self,
        context: &Context,
        name: &str,
        request: UpdateMeter,
    ) -> Result<Meter, Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let before = find_meter(view, name)?;
                let after = request.clone().apply(&before.document, context.now)?;
                draft.update(before.version, &after, Some(&after.key));
                draft.audit("meter.update", Some(&before.document), Some(&after));
                let entry = Versioned { version: before.version + 1, document: after.clone() };
                Ok(ControlPlan::new(Answer::changed(after))
                    .view(draft.environment, |it| Arc::make_mut(&mut it.meters).put(entry)))
            })
            .await
        })
        .await
    }

    /// Deletes a meter that no feature is measured by.
    pub async fn delete_meter(&self, context: &Context, name: &str) -> Result<(), Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let meter = find_meter(view, name)?;
                let Meter { id, key, .. } = &meter.document;
                let id = *id;
                let used = view.features.iter().find(|it| it.document.meter.as_ref() == Some(key));
                if let Some(feature) = used {
                    let detail =
                        format!("the feature {:?} is measured by it", feature.document.key);
                    return Err(Problem::new(ProblemCode::MeterInUse, detail));
                }
                draft.delete(meter);
                draft.audit("meter.delete", Some(&meter.document), None);
                Ok(ControlPlan::new(Answer::deleted())
                    .command(ControlCommand::DeleteMeter(id))
                    .view(draft.environment, move |it| Arc::make_mut(&mut it.meters).remove(id)))
            })
            .await
        })
        .await
    }
}
