/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas as threads of this process, joined through shared memory, see mirrored.h. */
#include "worker/fit/mirrored_internal.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/base/thread.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mirrored;

struct lsi_mirrored_member {
    struct mirrored *run;
    int rank;
    struct ls_group *group; /* under the run's mutex: an abort may come from any member */
    pthread_t thread;
};

struct mirrored {
    lsi_mirrored_fn fn;
    void *state;
    int world;
    struct ls_member *members;
    struct ls_group_options options;
    char directory[64], rendezvous[96];
    struct lsi_mirrored_member *replicas;
    pthread_mutex_t mutex;
    _Atomic bool failed;   /* nobody forms a group any more */
    enum ls_status status; /* of the replica that failed first */
    struct ls_error err;
};

struct ls_group *lsi_mirrored_group(const struct lsi_mirrored_member *member)
{
    return member->group;
}

/* Keeps the first failure, and ends everyone else's operations with it. */
static void fail(struct mirrored *run, enum ls_status status, const struct ls_error *err)
{
    if (run->status != LS_OK)
        return;
    run->status = status;
    run->err = *err;
    run->err.status = status;
    run->failed = true;
    for (int r = 0; r < run->world; r++)
        if (run->replicas[r].group != NULL)
            ls_group_abort(run->replicas[r].group, err->message);
}

void lsi_mirrored_withdraw(struct lsi_mirrored_member *member, const struct ls_error *failed)
{
    struct mirrored *run = member->run;

    (void)pthread_mutex_lock(&run->mutex);
    if (failed != NULL)
        fail(run, failed->status, failed);
    member->group = NULL;
    (void)pthread_mutex_unlock(&run->mutex);
}

static enum ls_status join(struct lsi_mirrored_member *member, struct ls_error *err)
{
    struct mirrored *run = member->run;
    struct ls_group_options options = run->options;
    struct ls_group *group = NULL;
    enum ls_status status;

    options.rank = member->rank;
    status = ls_group_create(run->world > 1 ? "shm" : "self", &options, &group, err);
    explicit_bzero(options.secret, sizeof options.secret);
    if (status != LS_OK)
        return status;
    (void)pthread_mutex_lock(&run->mutex);
    member->group = group;
    if (run->status != LS_OK)
        ls_group_abort(group, run->err.message);
    (void)pthread_mutex_unlock(&run->mutex);
    return LS_OK;
}

static void *member_main(void *state)
{
    struct lsi_mirrored_member *member = state;
    struct mirrored *run = member->run;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group;
    enum ls_status status = join(member, &err);

    if (status == LS_OK)
        status = run->fn(run->state, member, &err);
    if (err.message[0] == '\0')
        (void)ls_error_set(&err, status, "replica %d: %s", member->rank, ls_status_sentence(status));
    (void)pthread_mutex_lock(&run->mutex);
    if (status != LS_OK)
        fail(run, status, &err);
    group = member->group;
    member->group = NULL;
    (void)pthread_mutex_unlock(&run->mutex);
    ls_group_destroy(group);
    return NULL;
}

static enum ls_status prepare(struct mirrored *run, struct ls_error *err)
{
    const char *place = getenv("TMPDIR");

    run->options = (struct ls_group_options)LS_GROUP_OPTIONS_DEFAULT;
    run->members = ls_alloc_zeroed((size_t)run->world, sizeof *run->members);
    run->replicas = ls_alloc_zeroed((size_t)run->world, sizeof *run->replicas);
    if (run->members == NULL || run->replicas == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for %d replicas", run->world);
    for (int r = 0; r < run->world; r++) {
        run->members[r] = (struct ls_member){
            .worker = 1, .incarnation = 1, .replica = r, .host = "localhost", .address = "127.0.0.1"};
        run->replicas[r] = (struct lsi_mirrored_member){.run = run, .rank = r};
    }
    run->options.members = run->members;
    run->options.world = run->world;
    run->options.generation = 1;
    run->options.abandon = &run->failed;
    if (run->world == 1)
        return LS_OK;
    if (ls_random_bytes(run->options.secret, sizeof run->options.secret) != LS_OK)
        return ls_error_set(err, LS_EIO, "the system gives no random numbers for the group's secret");
    /* The rendezvous is a Unix socket, whose path is at most 107 bytes. */
    if (place == NULL || place[0] == '\0' || strlen(place) > sizeof run->directory - 24)
        place = "/tmp";
    (void)snprintf(run->directory, sizeof run->directory, "%s/lockstep-fit-XXXXXX", place);
    if (mkdtemp(run->directory) == NULL) {
        run->directory[0] = '\0';
        return ls_error_set(err, LS_EIO, "cannot make a directory in %s for the replicas to meet in", place);
    }
    (void)snprintf(run->rendezvous, sizeof run->rendezvous, "%s/group", run->directory);
    run->options.rendezvous = run->rendezvous;
    return LS_OK;
}

static void run_members(struct mirrored *run)
{
    int started = 1;

    for (; started < run->world; started++)
        if (ls_thread_start("replica", 0, member_main, &run->replicas[started], &run->replicas[started].thread, NULL) !=
            LS_OK)
            break;
    if (started < run->world) {
        struct ls_error err = LS_ERROR_INIT;

        (void)ls_error_set(&err, LS_ENOMEM, "cannot start a thread for each of %d replicas", run->world);
        (void)pthread_mutex_lock(&run->mutex);
        fail(run, LS_ENOMEM, &err);
        (void)pthread_mutex_unlock(&run->mutex);
    }
    (void)member_main(&run->replicas[0]);
    for (int r = 1; r < started; r++)
        (void)pthread_join(run->replicas[r].thread, NULL);
}

enum ls_status lsi_mirrored_run(int replicas, lsi_mirrored_fn fn, void *state, struct ls_error *err)
{
    struct mirrored run = {.fn = fn, .state = state, .world = replicas, .mutex = PTHREAD_MUTEX_INITIALIZER};
    enum ls_status status;

    if (replicas < 1 || replicas > LS_MAX_MEMBERS)
        return ls_error_set(err, LS_EINVAL, "a mirrored run has 1 to %d replicas, not %d", LS_MAX_MEMBERS, replicas);
    status = prepare(&run, err);
    if (status == LS_OK) {
        run_members(&run);
        status = run.status;
        if (status != LS_OK && err != NULL)
            *err = run.err;
    }
    explicit_bzero(run.options.secret, sizeof run.options.secret);
    if (run.directory[0] != '\0')
        (void)ls_fs_remove(run.directory, NULL);
    ls_free(run.replicas);
    ls_free(run.members);
    (void)pthread_mutex_destroy(&run.mutex);
    return status;
}

struct plain {
    ls_mirrored_fn fn;
    void *state;
};

static enum ls_status run_plain(void *state, struct lsi_mirrored_member *member, struct ls_error *err)
{
    const struct plain *plain = state;

    return plain->fn(plain->state, member->group, err);
}

enum ls_status ls_mirrored_run(int replicas, ls_mirrored_fn fn, void *state, struct ls_error *err)
{
    struct plain plain = {fn, state};

    return lsi_mirrored_run(replicas, run_plain, &plain, err);
}
