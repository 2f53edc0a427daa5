/* SPDX-License-Identifier: Apache-2.0 */
/* The job's summary as one JSON object, see docs/cli.md for its fields. */
#include "worker/step/replica.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void add_real(json_t *object, const char *key, double value)
{
    (void)json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

static void add_sums(json_t *object, const struct ls_replica *r, const char *prefix, const struct ls_sums *sums)
{
    char key[96];
    double samples = (double)sums->samples;

    if (sums->samples == 0)
        return;
    (void)snprintf(key, sizeof key, "%sloss", prefix);
    add_real(object, key, sums->loss / samples);
    for (int m = 0; m < r->trainer->spec.metric_count; m++) {
        (void)snprintf(key, sizeof key, "%s%s", prefix, r->trainer->metric_names[m]);
        add_real(object, key, sums->metrics[m] / samples);
    }
}

/* How the gradients travel, as the first steps have chosen it. */
static void add_exchange(json_t *object, const struct ls_replica *r)
{
    const struct ls_exchange *exchange = r->exchange[LS_STEP_TRAIN];
    const struct ls_arrangement *a = ls_tuner_arrangement(&r->tuner);

    if (r->world > 1)
        (void)json_object_set_new(object, "exchange",
                                  json_pack("{s:i, s:I, s:s, s:b, s:b}", "buckets", ls_exchange_bucket_count(exchange),
                                            "largest_bucket", (json_int_t)ls_exchange_largest_bucket(exchange), "way",
                                            ls_exchange_way(exchange), "beside", a->beside, "tuned",
                                            r->tuner.count > 1 && r->tuner.chosen >= 0));
}

enum ls_status ls_replica_summary(struct ls_replica *r, char **json, struct ls_error *err)
{
    const struct ls_progress *p = &r->progress;
    const struct ls_sums *train = p->epoch.samples > 0 ? &p->epoch : &p->last;
    char params[65], all[65], *text;
    struct rusage usage;
    enum ls_status status = ls_state_sha256(r->state, params, all, err);
    json_t *o;

    if (status != LS_OK)
        return status;
    (void)getrusage(RUSAGE_SELF, &usage);
    o = json_pack("{s:I, s:f, s:i, s:b, s:s, s:s, s:s, s:I}", "steps", (json_int_t)p->step, "epochs",
                  (double)p->step / (double)r->trainer->steps_per_epoch, "workers", r->world, "finished",
                  ls_replica_finished(r), "device", ls_device_name(r->device), "transport", ls_group_provider(r->group),
                  "params_sha256", params, "rss_mib", (json_int_t)(usage.ru_maxrss / 1024));
    (void)json_object_set_new(o, "state_sha256", json_string(all));
    add_sums(o, r, "train_", train);
    add_sums(o, r, "val_", &p->validation);
    add_sums(o, r, "", p->validation.samples > 0 ? &p->validation : train);
    add_real(o, "loss", train->samples > 0 ? train->loss / (double)train->samples : NAN);
    add_real(o, "samples_per_s", r->busy_s > 0 ? (double)r->busy_samples / r->busy_s : 0);
    add_real(o, "ms_per_step", r->busy_steps > 0 ? r->busy_s / (double)r->busy_steps * 1e3 : 0);
    add_real(o, "first_step_s", r->first_step_s);
    add_exchange(o, r);
    if (r->trainer->job->bf16_wire)
        (void)json_object_set_new(o, "wire", json_string(ls_group_carries_bf16(r->group) ? "bf16" : "f32"));
    if (r->trainer->job->checkpoint_directory != NULL)
        (void)json_object_set_new(o, "checkpoint", json_string(r->trainer->job->checkpoint_directory));
    text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(o);
    *json = text != NULL ? ls_str_copy(text) : NULL;
    free(text);
    return *json != NULL ? LS_OK : ls_error_set(err, LS_ENOMEM, "not enough memory for the summary");
}
