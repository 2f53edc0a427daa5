/* SPDX-License-Identifier: Apache-2.0 */
/* What shortens gradients on their way: the keys `compression` and `wire`, which both need math: fast. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"

#include <math.h>
#include <string.h>

static void check_compression(const struct lsi_section *top, const struct lsi_section *options, struct ls_job *job)
{
    static const char *const bf16[] = {"name"};
    static const char *const top_k[] = {"name", "ratio"};
    static const char *const power_sgd[] = {"name", "rank", "start_step"};

    job->compression.ratio = 0.01;
    job->compression.rank = 2;
    if (strcmp(job->compression.name, "top_k") == 0)
        lsi_job_check_keys(options, top_k, LSI_COUNT(top_k));
    else if (strcmp(job->compression.name, "power_sgd") == 0)
        lsi_job_check_keys(options, power_sgd, LSI_COUNT(power_sgd));
    else
        lsi_job_check_keys(options, bf16, LSI_COUNT(bf16));
    lsi_job_number(options, "ratio", 0, true, 1, &job->compression.ratio);
    lsi_job_int(options, "rank", 1, 256, &job->compression.rank);
    lsi_job_integer(options, "start_step", 0, INT64_C(1) << 48, &job->compression.start_step);
    if (!job->fast)
        lsi_job_fail(top, "compression",
                     "is %s, which loses bits of the gradients; set math: fast to allow that, or compression: none",
                     job->compression.name);
}

static void read_compression(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"none", "bf16", "top_k", "power_sgd"};
    struct lsi_section options;

    if (!lsi_job_has(top, "compression"))
        return;
    lsi_job_named(top, "compression", names, LSI_COUNT(names), &job->compression.name, &options);
    if (top->walk->status != LS_OK)
        return;
    if (strcmp(job->compression.name, "none") != 0) {
        check_compression(top, &options, job);
        return;
    }
    lsi_job_check_keys(&options, (const char *const[]){"name"}, 1);
    ls_free(job->compression.name);
    job->compression.name = NULL;
}

static void read_wire(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"f32", "bf16"};
    char *name = NULL;

    lsi_job_choice(top, "wire", names, LSI_COUNT(names), &name);
    job->bf16_wire = name != NULL && strcmp(name, "bf16") == 0;
    ls_free(name);
    if (job->bf16_wire && !job->fast)
        lsi_job_fail(top, "wire",
                     "is bf16, which rounds sums on their way; set math: fast to allow that, or wire: f32");
    if (job->bf16_wire && job->compression.name != NULL)
        lsi_job_fail(top, "wire", "is bf16 and compression is %s, which sends its own numbers; leave one of them out",
                     job->compression.name);
}

void lsi_job_read_gradients(const struct lsi_section *top, struct ls_job *job)
{
    read_compression(top, job);
    read_wire(top, job);
}

enum ls_status ls_job_set_compression(struct ls_job *job, const struct ls_compression_options *options,
                                      struct ls_error *err)
{
    struct lsi_walk walk = {.file = job->path, .err = err};
    struct lsi_section top = {.walk = &walk};
    json_t *value;

    if (!isfinite(options->ratio))
        return ls_error_set(err, LS_EINVAL, "%s: compression.ratio must be a finite number", job->path);
    value = json_object();
    (void)json_object_set_new(value, "name", json_string(options->name != NULL ? options->name : "none"));
    if (options->ratio != 0)
        (void)json_object_set_new(value, "ratio", json_real(options->ratio));
    if (options->rank != 0)
        (void)json_object_set_new(value, "rank", json_integer(options->rank));
    if (options->start_step != 0)
        (void)json_object_set_new(value, "start_step", json_integer((json_int_t)options->start_step));
    top.object = json_pack("{s:o}", "compression", value);
    if (top.object == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", job->path);
    read_compression(&top, job);
    json_decref(top.object);
    return walk.status;
}
