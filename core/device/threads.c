/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of one device. They stay for its life, spin for some microseconds after each piece of work and then
 * sleep. One word tells them of new work: a counter and the number of parts, so that a thread without a part never
 * looks at anything else. A device that is busy (or asked from inside a part) runs the work in the calling thread.
 */
#include "core/device/device_internal.h"

#include "core/base/alloc.h"

#include <assert.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* About 30 us on the processors of 2024: longer than the gap between two ops, shorter than anyone minds. */
#define SPINS 1500
#define PARTS_BITS 16

struct lsi_pool {
    int threads;
    int started;
    int spins;
    pthread_t *ids;
    atomic_flag busy;
    _Atomic uint64_t work; /* counter << PARTS_BITS | parts; parts 0: end */
    _Atomic int pending;   /* parts of the other threads still running */
    _Atomic int sleepers;
    _Atomic int caller_sleeps;
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    /* The work: written before `work` changes, constant until pending is 0. */
    lsi_range_fn fn;
    void *state;
    int64_t count, grain;
};

struct member {
    struct lsi_pool *pool;
    int index;
};

void lsi_float_mode_set(void)
{
#if defined(__x86_64__)
    if ((_mm_getcsr() & ~0x3fu) != 0x1f80)
        _mm_setcsr(0x1f80);
#else
    fesetround(FE_TONEAREST);
#if defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
#endif
#endif
}

static void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Part `index` of `parts`: runs of whole grains whose lengths differ by at most one. */
static void run_part(const struct lsi_pool *pool, int parts, int index)
{
    int64_t grains = (pool->count + pool->grain - 1) / pool->grain;
    int64_t begin = grains * index / parts * pool->grain;
    int64_t end = grains * (index + 1) / parts * pool->grain;

    pool->fn(pool->state, begin, end < pool->count ? end : pool->count, index);
}

/* The next value of `work` that differs from `seen`. */
static uint64_t await_work(struct lsi_pool *pool, uint64_t seen)
{
    uint64_t now;
    int i;

    for (i = 0; i < pool->spins; i++) {
        now = atomic_load(&pool->work);
        if (now != seen)
            return now;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while ((now = atomic_load(&pool->work)) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
    return now;
}

static void finish_part(struct lsi_pool *pool)
{
    if (atomic_fetch_sub(&pool->pending, 1) > 1 || !atomic_load(&pool->caller_sleeps))
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

static void *thread_main(void *argument)
{
    struct member member = *(struct member *)argument;
    uint64_t seen = 1;

    ls_free(argument);
    lsi_float_mode_set();
    for (;;) {
        int parts;

        seen = await_work(member.pool, seen);
        parts = (int)(seen & ((1u << PARTS_BITS) - 1));
        if (parts == 0)
            return NULL;
        if (member.index < parts) {
            run_part(member.pool, parts, member.index);
            finish_part(member.pool);
        }
    }
}

static void publish(struct lsi_pool *pool, int parts)
{
    uint64_t counter = (atomic_load(&pool->work) >> PARTS_BITS) + 1;

    atomic_store(&pool->work, counter << PARTS_BITS | (uint64_t)parts);
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

static void await_parts(struct lsi_pool *pool)
{
    int i;

    for (i = 0; i < pool->spins; i++) {
        if (atomic_load(&pool->pending) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, 1);
    while (atomic_load(&pool->pending) > 0)
        pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->caller_sleeps, 0);
    pthread_mutex_unlock(&pool->mutex);
}

void lsi_device_parallel(struct ls_device *device, int64_t count, int64_t grain, lsi_range_fn fn, void *state)
{
    struct lsi_pool *pool = device->pool;
    int64_t grains;
    int parts;

    if (count <= 0)
        return;
    assert(grain > 0);
    grains = (count + grain - 1) / grain;
    parts = grains < pool->threads ? (int)grains : pool->threads;
    if (parts == 1 || atomic_flag_test_and_set(&pool->busy)) {
        fn(state, 0, count, 0);
        return;
    }
    pool->fn = fn;
    pool->state = state;
    pool->count = count;
    pool->grain = grain;
    atomic_store(&pool->pending, parts - 1);
    publish(pool, parts);
    run_part(pool, parts, 0);
    await_parts(pool);
    atomic_flag_clear(&pool->busy);
}

int lsi_pool_threads(const struct lsi_pool *pool)
{
    return pool->threads;
}

/* Spinning only helps where each thread can have a processor to itself. */
static int spins_for(int threads)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < threads)
        return 0;
    return SPINS;
}

static enum ls_status start_threads(struct lsi_pool *pool, struct ls_error *err)
{
    int i;

    for (i = 1; i < pool->threads; i++) {
        struct member *member = ls_alloc(sizeof *member);
        int failed;

        if (member == NULL)
            return ls_error_set(err, LS_ENOMEM, "there is no memory for the threads of a device");
        *member = (struct member){.pool = pool, .index = i};
        failed = pthread_create(&pool->ids[i - 1], NULL, thread_main, member);
        if (failed) {
            ls_free(member);
            return ls_error_set(err, LS_ENOMEM, "thread %d of %d of a device could not be started; use fewer threads",
                                i + 1, pool->threads);
        }
        pool->started++;
    }
    return LS_OK;
}

enum ls_status lsi_pool_create(int threads, struct lsi_pool **pool, struct ls_error *err)
{
    struct lsi_pool *created = ls_alloc_zeroed(1, sizeof *created);
    enum ls_status status;

    if (created == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is no memory for the threads of a device");
    created->threads = threads;
    created->spins = spins_for(threads);
    atomic_init(&created->work, 1);
    atomic_flag_clear(&created->busy);
    pthread_mutex_init(&created->mutex, NULL);
    pthread_cond_init(&created->wake, NULL);
    pthread_cond_init(&created->done, NULL);
    created->ids = ls_alloc_zeroed((size_t)threads, sizeof *created->ids);
    if (created->ids == NULL)
        status = ls_error_set(err, LS_ENOMEM, "there is no memory for the threads of a device");
    else
        status = start_threads(created, err);
    if (status != LS_OK) {
        lsi_pool_destroy(created);
        return status;
    }
    *pool = created;
    return LS_OK;
}

void lsi_pool_destroy(struct lsi_pool *pool)
{
    int i;

    if (pool == NULL)
        return;
    publish(pool, 0);
    for (i = 0; i < pool->started; i++)
        pthread_join(pool->ids[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    ls_free(pool->ids);
    ls_free(pool);
}
