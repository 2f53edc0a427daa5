/* SPDX-License-Identifier: Apache-2.0 */
/* One worker process from join to finish, see worker.h. */
#include "worker/worker.h"

#include "collective/transport/tcp/listen.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/thread.h"
#include "core/device/known_answer.h"
#include "core/formats/npz.h"
#include "core/job/transport.h"
#include "worker/session/session.h"
#include "worker/slow.h"
#include "worker/step/replica.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define FORM_MS 30000  /* members load their data before they meet */
#define WAIT_MS 600000 /* a peer may compute or save this long; one that died or froze is found out otherwise */
_Static_assert(LS_JOB_MAX_REPLICAS == LS_MAX_MEMBERS, "a job's replicas are a group");
#define MOST_REPLICAS (int)(sizeof((struct ls_session_options *)0)->listen_port / sizeof(uint16_t))

static _Atomic bool stop_asked, assigned;

bool ls_worker_stop(void)
{
    atomic_store(&stop_asked, true);
    return atomic_load(&assigned);
}

struct worker;

struct runner {
    struct worker *worker;
    int index; /* replica within the worker */
    struct ls_group *group;
    struct ls_replica *replica;
    struct ls_trace *trace;
    pthread_t thread;
    enum ls_status status;
    bool stopped; /* in order, at a step that all ranks agreed on */
    struct ls_error err;
    char *summary;
};

struct worker {
    const struct ls_worker_options *options;
    struct ls_trainer *trainer;
    struct ls_session *session;
    struct ls_assignment assignment;
    struct ls_ckpt *ckpt;
    int replica_count;
    struct runner *runners;
    int listeners[MOST_REPLICAS];
    pthread_mutex_t mutex; /* groups come and go while an abort may arrive */
    _Atomic bool aborted;
    struct ls_error cause; /* what came first: an abort, or the error of a replica. Written before `aborted`. */
};

/* Ends what the replicas of this worker do: none waits for one that has failed. The first cause stays. */
static void give_up(struct worker *w, enum ls_status status, const char *reason)
{
    (void)pthread_mutex_lock(&w->mutex);
    if (!w->aborted)
        (void)ls_error_set(&w->cause, status, "%s", reason);
    w->aborted = true;
    for (int i = 0; i < w->replica_count; i++)
        if (w->runners[i].group != NULL)
            ls_group_abort(w->runners[i].group, w->cause.message);
    (void)pthread_mutex_unlock(&w->mutex);
}

static void on_abort(void *state, const char *reason)
{
    give_up(state, LS_EPEER, reason);
}

static enum ls_wait_kind kind_of(uint32_t label)
{
    if (label >= LS_LABEL_BUCKET)
        return LS_WAIT_BUCKET;
    return label == LS_LABEL_VOTE ? LS_WAIT_VOTE : label == LS_LABEL_MOMENTS ? LS_WAIT_MOMENTS : LS_WAIT_OTHER;
}

static bool is_own(const struct worker *w, int rank)
{
    return rank >= w->assignment.first_rank && rank < w->assignment.first_rank + w->replica_count;
}

/* The replica that waits longest, and rather one that waits for another worker. */
static void on_beat(void *state, struct ls_wait_report *wait)
{
    struct worker *w = state;
    uint64_t now = ls_clock_now_ns(), longest = 0;
    bool outside = false;

    (void)pthread_mutex_lock(&w->mutex);
    for (int i = 0; i < w->replica_count; i++) {
        struct ls_group_wait seen;
        uint64_t waited;
        bool other;

        if (w->runners[i].group == NULL || !ls_group_waiting(w->runners[i].group, &seen) || seen.since_ns > now)
            continue;
        waited = now - seen.since_ns;
        other = !is_own(w, seen.rank);
        if (outside > other || (outside == other && waited < longest))
            continue;
        outside = other;
        longest = waited;
        *wait = (struct ls_wait_report){.kind = kind_of(seen.label),
                                        .rank = w->assignment.first_rank + i,
                                        .for_rank = seen.rank,
                                        .number = seen.label >= LS_LABEL_BUCKET ? seen.label - LS_LABEL_BUCKET : 0,
                                        .waited_ms = (uint32_t)(waited / 1000000)};
    }
    (void)pthread_mutex_unlock(&w->mutex);
}

static void on_phase(void *state, uint64_t step, enum ls_phase phase)
{
    struct runner *r = state;

    if (atomic_load_explicit(&stop_asked, memory_order_relaxed) ||
        ls_session_order(r->worker->session, NULL) == LS_ORDER_STOP)
        atomic_store(&r->replica->stop, true);
    if (r->index == 0)
        ls_session_set_phase(r->worker->session, step, phase);
    if (phase == LS_PHASE_COMPUTING)
        ls_slow_down(r->worker->assignment.first_rank + r->index, step);
}

static void on_report(void *state, const struct ls_step_report *report)
{
    ls_session_report_step(((struct runner *)state)->worker->session, report);
}

static void on_checkpoint(void *state, uint64_t step, const char *path)
{
    ls_session_report_checkpoint(((struct runner *)state)->worker->session, step, path);
}

/* Publishes the group for on_abort, or aborts it where an abort came first. */
static void publish(struct runner *r, struct ls_group *group)
{
    struct worker *w = r->worker;

    (void)pthread_mutex_lock(&w->mutex);
    r->group = group;
    if (group != NULL && w->aborted)
        ls_group_abort(group, w->cause.message);
    (void)pthread_mutex_unlock(&w->mutex);
}

static enum ls_status form(struct runner *r, struct ls_group **group)
{
    struct worker *w = r->worker;
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    enum ls_status status;

    options.members = w->assignment.members;
    options.world = w->assignment.world;
    options.rank = w->assignment.first_rank + r->index;
    options.generation = w->assignment.generation;
    memcpy(options.secret, w->options->secret, sizeof options.secret);
    options.rendezvous = w->assignment.rendezvous;
    options.listener = w->listeners[r->index];
    options.form_deadline_ms = FORM_MS;
    options.wait_deadline_ms = WAIT_MS;
    options.abandon = &w->aborted;
    options.any_order = w->options->job->fast;
    options.bf16_wire = w->options->job->bf16_wire;
    status = ls_group_create(w->assignment.provider, &options, group, &r->err);
    explicit_bzero(options.secret, sizeof options.secret);
    if (status == LS_OK)
        w->listeners[r->index] = -1;
    return status;
}

static enum ls_status save_weights(struct runner *r)
{
    struct ls_state *state = r->replica->state;
    struct ls_npz_writer writer = {0};
    enum ls_status status = LS_OK;

    for (int i = 0; i < state->variable_count && status == LS_OK; i++) {
        const struct ls_variable_info *info = state->variables[i].info;
        struct ls_view view = {.dtype = info->dtype, .shape = info->shape, .data = ls_state_data(state, i)};

        status = ls_npz_append(&writer, info->path, &view, &r->err);
    }
    if (status == LS_OK)
        status = ls_npz_save(&writer, r->worker->options->save_weights, &r->err);
    ls_npz_writer_deinit(&writer);
    return status;
}

/* All ranks together where the job ends in order; where it does not, each for itself what it has. */
static enum ls_status save_trace(struct runner *r, enum ls_status status)
{
    const char *path = r->worker->options->trace;
    struct ls_replica *replica = r->replica;
    struct ls_error ignored;

    if (replica == NULL)
        return status;
    if (status == LS_OK)
        return ls_tracing_write(replica->group, &replica->tracing, path, &r->err);
    if (r->stopped && ls_tracing_write(replica->group, &replica->tracing, path, &ignored) == LS_OK)
        return status;
    if (path != NULL)
        (void)ls_tracing_write_part(replica->rank, &replica->tracing, path, &ignored);
    return status;
}

static enum ls_status run_replica(struct runner *r)
{
    struct worker *w = r->worker;
    struct ls_replica_hooks hooks = {.started_pid = w->options->started_pid, .state = r, .phase = on_phase};
    struct ls_group *group = NULL;
    enum ls_status status = w->options->trace != NULL ? ls_trace_create(&r->trace, &r->err) : LS_OK;
    bool leads = w->assignment.first_rank + r->index == 0;

    if (status == LS_OK)
        status = form(r, &group);
    if (status != LS_OK)
        return status;
    hooks.trace = r->trace;
    if (leads) {
        hooks.report = on_report;
        hooks.checkpoint = on_checkpoint;
    }
    publish(r, group);
    status = ls_replica_open(w->trainer, group, w->ckpt, &hooks, &r->replica, &r->err);
    if (status == LS_OK) {
        status = ls_replica_run(r->replica, &r->err);
        r->stopped = status == LS_EINTERRUPTED;
    }
    if (leads && (status == LS_OK || status == LS_EINTERRUPTED) && r->replica != NULL && !w->aborted) {
        struct ls_error ignored;
        enum ls_status kept = ls_replica_summary(r->replica, &r->summary, status == LS_OK ? &r->err : &ignored);

        if (kept == LS_OK && status == LS_OK && w->options->save_weights != NULL)
            kept = save_weights(r);
        status = status == LS_OK ? kept : status;
    }
    status = save_trace(r, status);
    publish(r, NULL);
    if (r->replica == NULL)
        ls_group_destroy(group);
    ls_replica_close(r->replica);
    return status;
}

static void *runner_main(void *state)
{
    struct runner *r = state;
    bool in_order;

    r->status = run_replica(r);
    in_order = r->status == LS_OK || (r->status == LS_EINTERRUPTED && r->stopped);
    if (r->status == LS_EINTERRUPTED && !in_order)
        r->status = LS_EPEER; /* a group that a peer ended while this replica was opening */
    if (!in_order)
        give_up(r->worker, r->status, r->err.message);
    return NULL;
}

/* Runs the device through its known answers before it may join. One that cannot be opened gives none; what is wrong
 * with it is told after the join, once for all workers. */
static enum ls_status test_device(const struct ls_job *job, uint64_t *digest, struct ls_error *err)
{
    struct ls_device_options options = {.threads = job->threads, .fast = job->fast, .isa = job->isa};
    struct ls_device *device = NULL;
    enum ls_status status;

    *digest = ls_known_answers_digest(job->fast);
    if (ls_device_open(job->device, &options, &device, NULL) != LS_OK)
        return LS_OK;
    status = ls_device_check_known_answers(device, digest, err);
    ls_device_close(device);
    return status;
}

static enum ls_status join(struct worker *w, bool *ended, struct ls_error *err)
{
    const struct ls_worker_options *options = w->options;
    struct ls_session_options session = {.coordinator = options->coordinator,
                                         .replicas = w->replica_count,
                                         .wanted_index = options->index,
                                         .connect_deadline_ms = 10000,
                                         .ended = ended};
    const struct ls_transport *transport = ls_transport_find(options->job->transport);
    bool needs_tcp = transport == NULL || transport->listens;
    char host[256];
    enum ls_status status;

    (void)ls_str_into(host, sizeof host, options->coordinator);
    if (strrchr(host, ':') != NULL)
        *strrchr(host, ':') = '\0';
    memcpy(session.secret, options->secret, sizeof session.secret);
    status = test_device(options->job, &session.known_answers, err);
    if (status == LS_OK)
        status = ls_job_fingerprint(options->job, session.fingerprint, err);
    for (int i = 0; i < w->replica_count && status == LS_OK && needs_tcp; i++)
        status = ls_tcp_listen(host, &w->listeners[i], &session.listen_port[i], err);
    if (status == LS_OK)
        status = ls_session_open(&session, &w->assignment, &w->session, err);
    explicit_bzero(session.secret, sizeof session.secret);
    if (status == LS_OK) {
        atomic_store(&assigned, true);
        ls_session_on_abort(w->session, on_abort, w);
        ls_session_on_beat(w->session, on_beat, w);
    }
    return status;
}

static enum ls_status open_checkpoint(struct worker *w, struct ls_error *err)
{
    const char *directory = w->options->job->checkpoint_directory;
    char *fell_back = NULL;
    enum ls_status status;

    if (directory == NULL)
        return LS_OK;
    status = ls_ckpt_open(directory, &w->ckpt, &fell_back, err);
    if (fell_back != NULL && w->assignment.first_rank == 0) /* the others see the same */
        ls_log(LS_LOG_WARN, "checkpoint.fallback", "%s", fell_back);
    ls_free(fell_back);
    return status == LS_ENOENT ? LS_OK : status;
}

/* What came first explains the others' ends. An abort that tells what a replica here has found too has that replica's
 * status: all workers end alike, whoever is heard first. */
static enum ls_status outcome(const struct worker *w, struct ls_error *err)
{
    enum ls_status status = w->cause.status;
    bool failed = false;

    for (int i = 0; i < w->replica_count; i++) {
        const struct runner *r = &w->runners[i];

        if (r->status == LS_OK || r->stopped)
            continue;
        failed = true;
        if (strcmp(r->err.message, w->cause.message) == 0)
            status = r->status;
    }
    if (failed)
        return ls_error_set(err, status, "%s", w->cause.message);
    if (w->runners[0].status != LS_OK && err != NULL)
        *err = w->runners[0].err;
    return w->runners[0].status;
}

static enum ls_status run_all(struct worker *w, struct ls_error *err)
{
    int started = 1;

    for (; started < w->replica_count; started++)
        if (ls_thread_start("replica", 0, runner_main, &w->runners[started], &w->runners[started].thread, NULL) !=
            LS_OK)
            break;
    if (started < w->replica_count)
        give_up(w, LS_ENOMEM, "this worker cannot start a thread for each of its replicas");
    (void)runner_main(&w->runners[0]);
    for (int i = 1; i < started; i++)
        (void)pthread_join(w->runners[i].thread, NULL);
    return outcome(w, err);
}

/* Joins first: what then goes wrong with the job is told to the coordinator, which says it once for all workers. */
static enum ls_status run(struct worker *w, char **summary, bool *told, struct ls_error *err)
{
    enum ls_status status = join(w, told, err), finished;
    bool orderly;

    if (status != LS_OK)
        return status;
    status = ls_slow_check(w->assignment.world, err);
    if (status == LS_OK)
        status = ls_trainer_open(w->options->job, LS_TRAINER_TRAINING, &w->trainer, err);
    if (status == LS_OK)
        status = open_checkpoint(w, err);
    if (status == LS_OK)
        status = run_all(w, err);
    *summary = w->runners[0].summary;
    w->runners[0].summary = NULL;
    orderly = *summary != NULL && (status == LS_OK || status == LS_EINTERRUPTED);
    finished = ls_session_finish(w->session, status, orderly || err == NULL ? *summary : err->message,
                                 status == LS_OK ? err : NULL);
    *told = finished == LS_OK;
    return status != LS_OK ? status : finished;
}

enum ls_status ls_worker_run(const struct ls_worker_options *options, char **summary, bool *told, struct ls_error *err)
{
    struct worker w = {.options = options, .replica_count = options->job->replicas};
    enum ls_status status;

    *summary = NULL;
    *told = false;
    if (w.replica_count < 1 || w.replica_count > MOST_REPLICAS)
        return ls_error_set(err, LS_EINVAL, "run.replicas is %d; a worker has 1 to %d, more workers give more",
                            w.replica_count, MOST_REPLICAS);
    w.runners = ls_alloc_zeroed((size_t)w.replica_count, sizeof *w.runners);
    if (w.runners == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for %d replicas", w.replica_count);
    (void)pthread_mutex_init(&w.mutex, NULL);
    for (int i = 0; i < MOST_REPLICAS; i++)
        w.listeners[i] = -1;
    for (int i = 0; i < w.replica_count; i++)
        w.runners[i] = (struct runner){.worker = &w, .index = i};
    status = run(&w, summary, told, err);
    ls_session_close(w.session);
    for (int i = 0; i < MOST_REPLICAS; i++)
        ls_tcp_unlisten(w.listeners[i]);
    ls_ckpt_close(w.ckpt);
    ls_trainer_close(w.trainer);
    for (int i = 0; i < w.replica_count; i++)
        ls_trace_destroy(w.runners[i].trace);
    ls_free(w.runners);
    (void)pthread_mutex_destroy(&w.mutex);
    return status;
}
