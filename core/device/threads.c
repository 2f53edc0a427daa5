/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of one device. They stay for its life, spin for some microseconds after each piece of work and then
 * sleep. Work is cut into parts; whoever is awake claims the next one, so that the caller does everything itself where
 * the others do not come up in time. One word says which parts are left, and of which work. A device that is busy (or
 * asked from inside a part) runs the work in the calling thread.
 */
#include "core/device/device_internal.h"

#include "core/base/alloc.h"
#include "core/base/thread.h"

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

/* The word: a counter of works, the parts of this one, and the next part that nobody has claimed. */
#define WORD(counter, parts, next) ((uint64_t)(counter) << 32 | (uint64_t)(parts) << 16 | (uint64_t)(next))
#define COUNTER_OF(word) ((uint32_t)((word) >> 32))
#define PARTS_OF(word) ((int)((word) >> 16 & 0xffff))
#define NEXT_OF(word) ((int)((word)&0xffff))

struct lsi_pool {
    int threads;
    int started;
    int spins;
    pthread_t *ids;
    atomic_flag busy;
    _Atomic uint64_t word;
    _Atomic int pending; /* parts that have not ended */
    _Atomic int ending;  /* the device closes */
    _Atomic int sleepers;
    _Atomic int caller_sleeps;
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    /* The work: written before `word` offers it, constant until pending is 0. */
    lsi_range_fn fn;
    void *state;
    int64_t count, grain;
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

static bool has_news(struct lsi_pool *pool)
{
    uint64_t word = atomic_load(&pool->word);

    return NEXT_OF(word) < PARTS_OF(word) || atomic_load(&pool->ending);
}

/* Returns when there may be a part to claim, or the device closes. */
static void await_news(struct lsi_pool *pool)
{
    int i;

    for (i = 0; i < pool->spins; i++) {
        if (has_news(pool))
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_news(pool))
        ls_wait_idle("parts of a device's work", &pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void finish_part(struct lsi_pool *pool)
{
    if (atomic_fetch_sub(&pool->pending, 1) > 1 || !atomic_load(&pool->caller_sleeps))
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

/* Claims and runs parts until none is left. A claim succeeds only on the word that it was read from, so the work's
 * other fields are those of that work. */
static void run_parts(struct lsi_pool *pool)
{
    uint64_t word = atomic_load(&pool->word);

    while (NEXT_OF(word) < PARTS_OF(word)) {
        if (!atomic_compare_exchange_weak(&pool->word, &word, word + 1))
            continue;
        run_part(pool, PARTS_OF(word), NEXT_OF(word));
        finish_part(pool);
        word = atomic_load(&pool->word);
    }
}

static void *thread_main(void *argument)
{
    struct lsi_pool *pool = argument;

    lsi_float_mode_set();
    for (;;) {
        await_news(pool);
        if (atomic_load(&pool->ending))
            return NULL;
        run_parts(pool);
    }
}

static void wake_sleepers(struct lsi_pool *pool)
{
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
        ls_wait_idle("the last parts of a device's work", &pool->done, &pool->mutex);
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
    atomic_store(&pool->pending, parts);
    atomic_store(&pool->word, WORD(COUNTER_OF(atomic_load(&pool->word)) + 1, parts, 0));
    wake_sleepers(pool);
    run_parts(pool);
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
        if (ls_thread_start("compute", 0, thread_main, pool, &pool->ids[i - 1], NULL) != LS_OK)
            return ls_error_set(err, LS_ENOMEM, "thread %d of %d of a device could not be started; use fewer threads",
                                i + 1, pool->threads);
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
    atomic_store(&pool->ending, 1);
    wake_sleepers(pool);
    for (i = 0; i < pool->started; i++)
        pthread_join(pool->ids[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    ls_free(pool->ids);
    ls_free(pool);
}
