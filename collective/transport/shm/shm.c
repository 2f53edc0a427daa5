/* SPDX-License-Identifier: Apache-2.0 */
/* The provider "shm": forming, the choice among small, direct and staged, and the end. */
#include "collective/transport/shm/shm_internal.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* All have published this operation and it is the same. */
static enum ls_status compare_posts(struct shm *shm, const struct ls_request *request, struct ls_error *err)
{
    struct ls_group *group = shm->group;

    for (; shm->run.scan < group->world; shm->run.scan++) {
        const struct shm_post *post = shm_post(shm, shm->run.scan, request->sequence);
        if (atomic_load_explicit(&post->sequence, memory_order_acquire) != request->sequence) {
            group->waits_for = shm->run.scan;
            group->waits_why = "has not started it";
            return LS_EAGAIN;
        }
        if (memcmp(&post->signature, &request->signature, sizeof post->signature) != 0) {
            struct lsi_signature theirs = post->signature;
            group->waits_for = shm->run.scan;
            return lsi_mismatch(request, shm->run.scan, &theirs, err);
        }
    }
    return LS_OK;
}

static enum ls_status leave(struct shm *shm, const struct ls_request *request)
{
    atomic_store_explicit(&shm_lane(shm, shm->group->rank)->flags.done, request->sequence, memory_order_release);
    lsi_shm_notify(shm);
    return LS_OK;
}

static void finish_small(struct shm *shm, struct ls_request *request)
{
    const void *values[LS_MAX_MEMBERS];
    bool tiny = shm_tiny(request);

    for (int r = 0; r < shm->group->world; r++) {
        const struct shm_post *post = shm_post(shm, r, request->sequence);
        values[r] = tiny ? (const void *)&post->dst : post->payload;
    }
    lsi_small_finish(request, values, shm->inputs);
    atomic_fetch_add_explicit(&shm->group->bytes_moved,
                              (uint64_t)request->signature.count * (uint64_t)request->element_bytes,
                              memory_order_relaxed);
}

static enum ls_status choose(struct shm *shm, struct ls_request *request, struct ls_error *err)
{
    if (request->way == LSI_ONE_SHOT) {
        finish_small(shm, request);
        shm->run.phase = SHM_DONE;
        return leave(shm, request);
    }
    shm->run.cursor = 0;
    if (request->way == LSI_DIRECT && lsi_shm_direct_fits(shm, request)) {
        shm->run.phase = SHM_DIRECT;
        return LS_EAGAIN;
    }
    shm->run.phase = SHM_STAGED;
    enum ls_status status = lsi_shm_staged_begin(shm, request, err);
    return status == LS_OK ? LS_EAGAIN : status;
}

/* Direct work ends when nobody reads or writes anybody's memory any more. */
static enum ls_status all_left(struct shm *shm, const struct ls_request *request)
{
    for (; shm->run.scan < shm->group->world; shm->run.scan++)
        if (atomic_load_explicit(&shm_lane(shm, shm->run.scan)->flags.done, memory_order_acquire) < request->sequence) {
            shm->group->waits_for = shm->run.scan;
            shm->group->waits_why = "has not finished its part of it";
            return LS_EAGAIN;
        }
    return LS_OK;
}

static enum ls_status advance(struct shm *shm, struct ls_request *request, struct ls_error *err)
{
    enum ls_status status;

    switch (shm->run.phase) {
    case SHM_POSTED:
        status = compare_posts(shm, request, err);
        if (status == LS_OK) {
            shm->group->ticks++;
            status = choose(shm, request, err);
        }
        return status;
    case SHM_DIRECT:
        status = lsi_shm_direct(shm, request, err);
        shm->group->ticks++;
        if (status != LS_OK)
            return status;
        (void)leave(shm, request);
        shm->run.phase = SHM_DONE;
        shm->run.scan = 0;
        return all_left(shm, request);
    case SHM_STAGED:
        status = lsi_shm_staged(shm, request);
        return status == LS_OK ? leave(shm, request) : status;
    case SHM_DONE:
        return all_left(shm, request);
    }
    return LS_EINTERNAL;
}

static enum ls_status shm_progress(void *state, struct ls_request *request, struct ls_error *err)
{
    struct shm *shm = state;
    enum ls_status status;

    if (shm->run.sequence != request->sequence) {
        shm->run.sequence = request->sequence;
        shm->run.phase = SHM_POSTED;
        shm->run.scan = 0;
    }
    status = advance(shm, request, err);
    /* What can still be completed is; nothing is waited for in a group that ended. */
    if (status == LS_EAGAIN && atomic_load_explicit(&shm->control->end.state, memory_order_relaxed) != 0)
        status = lsi_shm_end_error(shm, err);
    if (status != LS_EAGAIN)
        lsi_shm_disarm(shm);
    return status;
}

static bool shm_idle_slot(void *state, int round)
{
    return lsi_shm_idle(state, round);
}

static void shm_abort(void *state)
{
    struct shm *shm = state;
    struct ls_error why = LS_ERROR_INIT;

    (void)lsi_group_end_error(shm->group, &why);
    lsi_shm_end(shm, why.status, shm->group->end.culprit, why.message);
}

static void shm_destroy(void *state)
{
    struct shm *shm = state;

    lsi_shm_disarm(shm);
    lsi_shm_keeper_stop(shm);
    for (int i = 0; i < shm->region_count; i++)
        (void)munmap(shm->regions[i].base, shm->regions[i].stride * (size_t)shm->group->world);
    ls_free(shm->regions);
    if (shm->staging != NULL)
        (void)munmap(shm->staging, (size_t)shm->group->world * SHM_STAGING_BYTES);
    if (shm->control != NULL)
        (void)munmap(shm->control, shm->control_bytes);
    if (shm->fd >= 0)
        close(shm->fd);
    ls_free(shm->inputs);
    ls_free(shm->outs);
    ls_free(shm);
}

static enum ls_status map_group(struct shm *shm, struct ls_error *err)
{
    struct ls_group *group = shm->group;
    size_t staging = (size_t)group->world * SHM_STAGING_BYTES;
    void *control = mmap(NULL, shm->control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shm->fd, 0);
    void *slots =
        mmap(NULL, staging, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, shm->fd, (off_t)shm->control_bytes);

    shm->control = control == MAP_FAILED ? NULL : control;
    shm->staging = slots == MAP_FAILED ? NULL : slots;
    if (shm->control == NULL || shm->staging == NULL)
        return ls_error_set(err, LS_ENOMEM, "cannot map the memory of a group of %d: %s", group->world,
                            strerror(errno));
    shm->file_end = shm->control_bytes + staging;
    return LS_OK;
}

static void tell_processors(const struct shm *shm)
{
    uint64_t *own = shm_lane(shm, shm->group->rank)->form.processors;
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        CPU_SET(0, &set);
    for (unsigned i = 0; i < CPU_SETSIZE && i / 64 < 16; i++)
        if (CPU_ISSET(i, &set))
            own[i / 64] |= UINT64_C(1) << (i % 64);
}

/* Members may outnumber the processors that they may run on, each perhaps bound to one: then whoever waits gives way at
 * once. */
static void choose_waits(struct shm *shm)
{
    int processors = 0;

    for (int i = 0; i < 16; i++) {
        uint64_t all = 0;
        for (int r = 0; r < shm->group->world; r++)
            all |= shm_lane(shm, r)->form.processors[i];
        processors += __builtin_popcountll(all);
    }
    shm->crowded = processors < shm->group->world;
    shm->spin_rounds = shm->crowded ? 20 : 2000;
}

static bool shm_supports(int kind, enum lsi_way way)
{
    (void)kind;
    return way == LSI_DIRECT || way == LSI_STAGED;
}

static enum ls_status shm_look(void *state, int *culprit, struct ls_error *err)
{
    struct shm *shm = state;
    enum ls_status status;

    if (atomic_load_explicit(&shm->control->end.state, memory_order_relaxed) == 0)
        return LS_OK;
    status = lsi_shm_end_error(shm, err);
    *culprit = shm->group->waits_for;
    return status;
}

static void shm_tell_wait(void *state, int rank)
{
    const struct shm *shm = state;

    atomic_store_explicit(&shm_lane(shm, shm->group->rank)->form.waits_for, (uint32_t)(rank + 1), memory_order_relaxed);
}

static int shm_heard_wait(void *state, int peer)
{
    const struct shm *shm = state;
    uint32_t word = atomic_load_explicit(&shm_lane(shm, peer)->form.waits_for, memory_order_relaxed);

    return lsi_shm_waits_read(word, shm->group->world);
}

/* Who has not mapped the memory. Rank 0 gave it out: it is waiting for the others. */
static enum ls_status name_absent(const struct shm *shm, const struct ls_group_options *options, struct ls_error *err)
{
    bool here[LS_MAX_MEMBERS] = {true};
    int absent = 0;

    for (int r = 1; r < shm->group->world; r++) {
        here[r] = atomic_load_explicit(&shm_lane(shm, r)->form.arrived, memory_order_acquire);
        absent += !here[r];
    }
    here[0] = absent > 0;
    return lsi_missing(shm->group, here, options->form_deadline_ms, err);
}

/* Until every member has mapped the memory. */
static enum ls_status wait_for_all(struct shm *shm, const struct ls_group_options *options, uint64_t deadline_ns,
                                   struct ls_error *err)
{
    int round = 0;

    for (int r = 0; r < shm->group->world;) {
        if (atomic_load_explicit(&shm_lane(shm, r)->form.arrived, memory_order_acquire)) {
            r++;
            continue;
        }
        if (atomic_load_explicit(&shm->control->end.state, memory_order_acquire) != 0)
            return lsi_shm_end_error(shm, err);
        if (lsi_form_over(shm->group, options, deadline_ns))
            return name_absent(shm, options, err);
        (void)lsi_shm_idle(shm, round++);
    }
    lsi_shm_disarm(shm);
    return LS_OK;
}

/* Rank 0 has written the head of the control block before it let anybody in. */
static enum ls_status join(struct shm *shm, const struct ls_group_options *options, uint64_t deadline_ns,
                           struct ls_error *err)
{
    struct ls_group *group = shm->group;
    struct shm_lane *own;
    enum ls_status status;

    if (shm->control->magic != SHM_MAGIC || shm->control->generation != group->generation ||
        shm->control->world != (uint32_t)group->world || shm->control->lane_bytes != sizeof(struct shm_lane))
        return ls_error_set(err, LS_EINTERNAL, "the shared memory of generation %llu was made by another version",
                            (unsigned long long)group->generation);
    own = shm_lane(shm, group->rank);
    status = lsi_shm_keeper_start(shm, err);
    if (status == LS_OK) {
        tell_processors(shm);
        atomic_store_explicit(&own->form.arrived, 1, memory_order_release);
        lsi_shm_notify(shm);
        status = wait_for_all(shm, options, deadline_ns, err);
        choose_waits(shm);
    }
    if (status != LS_OK)
        lsi_shm_end(shm, status, -1, err != NULL ? err->message : "a member could not join the group");
    return status;
}

static enum ls_status shm_create(const struct ls_group_options *options, struct ls_group *group, void **state,
                                 struct ls_error *err)
{
    uint64_t deadline_ns = ls_clock_now_ns() + (uint64_t)options->form_deadline_ms * 1000000u;
    struct shm *shm = ls_alloc_zeroed(1, sizeof *shm);
    enum ls_status status;

    if (shm == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    shm->group = group;
    shm->fd = -1;
    shm->inputs = ls_alloc_zeroed(LSI_MAX_LEAVES, sizeof shm->inputs[0]);
    shm->outs = ls_alloc_zeroed((size_t)group->world, sizeof shm->outs[0]);
    shm->control_bytes =
        (sizeof(struct shm_control) + (size_t)group->world * sizeof(struct shm_lane) + 4095) & ~(size_t)4095;
    shm->spin_rounds = 20;
    shm->yield_rounds = 100;
    if (shm->inputs == NULL || shm->outs == NULL)
        status = ls_error_set(err, LS_ENOMEM, "no memory for a group");
    else
        status = lsi_shm_rendezvous(options, group, shm->control_bytes + (size_t)group->world * SHM_STAGING_BYTES,
                                    &shm->fd, err);
    if (status == LS_OK)
        status = map_group(shm, err);
    if (status == LS_OK)
        status = join(shm, options, deadline_ns, err);
    if (status != LS_OK) {
        shm_destroy(shm);
        return status;
    }
    *state = shm;
    return LS_OK;
}

const struct ls_provider_ops lsi_shm_provider = {
    .size = sizeof(struct ls_provider_ops),
    .abi = LSI_PROVIDER_ABI,
    .name = "shm",
    .create = shm_create,
    .publish = lsi_shm_publish,
    .progress = shm_progress,
    .idle = shm_idle_slot,
    .abort = shm_abort,
    .destroy = shm_destroy,
    .reserve = lsi_shm_reserve,
    .map = lsi_shm_map,
    .peer = lsi_shm_peer,
    .supports = shm_supports,
    .look = shm_look,
    .tell_wait = shm_tell_wait,
    .heard_wait = shm_heard_wait,
};
