/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a group: all ranks learn the same outcome, with the same sentence. */
#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char directory[64];

static void make(void)
{
    lst_step_directory_init(directory);
}

static void discard(void)
{
    lst_step_directory_deinit(directory);
}

#define RUN "{workers: 2, checkpoint: {directory: out, every_steps: 100}}"

static enum ls_status save_once(void *state, struct ls_replica *r, struct ls_error *err)
{
    (void)state;
    return ls_replica_save(r, err);
}

/* A rank whose part cannot be written: nobody commits, and all say which rank it was and why. */
Test(save, a_rank_cannot_write, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", RUN);
    char *blocked = ls_str_format("%s/step-0.partial/part-00001-of-00002.safetensors/x", job->checkpoint_directory);
    char *partial = ls_path_join(job->checkpoint_directory, "step-0.partial");
    struct lst_step_ranks ranks;
    struct ls_ckpt *ckpt = NULL;

    cr_assert_eq(ls_fs_mkdirs(blocked, NULL), LS_OK); /* a folder stands where rank 1's file belongs */
    lst_step_run(job, 2, save_once, NULL, &ranks);
    cr_expect_neq(ranks.status[0], LS_OK);
    cr_expect_eq(ranks.status[0], ranks.status[1]);
    cr_expect_neq(strstr(ranks.err[0].message, "rank 1"), NULL, "%s", ranks.err[0].message);
    cr_expect_str_eq(ranks.err[0].message, ranks.err[1].message);
    cr_expect_eq(ls_ckpt_open(job->checkpoint_directory, &ckpt, NULL, NULL), LS_ENOENT);
    cr_expect_not(ls_fs_exists(partial), "rank 0's part goes with all else");
    ls_free(partial);
    ls_free(blocked);
    ls_job_destroy(job);
}

/* Rank 0 cannot commit (a folder stands where LATEST is written): the others end with its sentence. */
Test(save, rank_0_cannot_commit, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", RUN);
    char *blocked = ls_str_format("%s/LATEST/x", job->checkpoint_directory);
    struct lst_step_ranks ranks;

    cr_assert_eq(ls_fs_mkdirs(blocked, NULL), LS_OK);
    lst_step_run(job, 2, save_once, NULL, &ranks);
    cr_expect_neq(ranks.status[0], LS_OK);
    cr_expect_eq(ranks.status[0], ranks.status[1]);
    cr_expect_str_eq(ranks.err[0].message, ranks.err[1].message);
    ls_free(blocked);
    ls_job_destroy(job);
}

static enum ls_status save_diverged(void *state, struct ls_replica *r, struct ls_error *err)
{
    (void)state;
    if (r->rank == 1)
        r->fingerprint ^= 1;
    return ls_replica_save(r, err);
}

/* Ranks with different parameters do not put a checkpoint together from them. */
Test(save, no_checkpoint_of_ranks_that_differ, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", RUN);
    struct lst_step_ranks ranks;
    struct ls_ckpt *ckpt = NULL;

    lst_step_run(job, 2, save_diverged, NULL, &ranks);
    cr_expect_eq(ranks.status[0], LS_EDIVERGED);
    cr_expect_eq(ranks.status[1], LS_EDIVERGED);
    cr_expect_eq(ls_ckpt_open(job->checkpoint_directory, &ckpt, NULL, NULL), LS_ENOENT);
    ls_ckpt_close(ckpt);
    ls_job_destroy(job);
}

static enum ls_status save_twice(void *state, struct ls_replica *r, struct ls_error *err)
{
    enum ls_status status = ls_replica_save(r, err);

    (void)state;
    return status == LS_OK ? ls_replica_save(r, err) : status;
}

/* A step may be saved twice: the second takes the first one's place, and loads. */
Test(save, the_same_step_twice, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", RUN);
    struct lst_step_ranks ranks;
    struct ls_ckpt *ckpt = NULL;
    char *fell_back = NULL;

    lst_step_run(job, 2, save_twice, NULL, &ranks);
    cr_expect_eq(ranks.status[0], LS_OK, "%s", ranks.err[0].message);
    cr_expect_eq(ranks.status[1], LS_OK, "%s", ranks.err[1].message);
    cr_assert_eq(ls_ckpt_open(job->checkpoint_directory, &ckpt, &fell_back, NULL), LS_OK);
    cr_expect_eq(fell_back, NULL);
    ls_ckpt_close(ckpt);
    ls_job_destroy(job);
}

/* As in save.c. */
struct told {
    int32_t status;
    char why[508];
    struct ls_ckpt_part part;
};

static enum ls_status save_with_a_liar(void *state, struct ls_replica *r, struct ls_error *err)
{
    struct told own = {.status = *(const int32_t *)state, .why = "there is no such status"}, all[2];
    int64_t counts[] = {sizeof own, sizeof own};
    struct ls_collective gather = {.kind = LS_ALL_GATHER, .dtype = LS_U8, .src = &own, .dst = all, .counts = counts};
    enum ls_status status = LS_OK;

    if (r->rank == 0)
        return ls_replica_save(r, err);
    status = ls_replica_agree(r, err);
    return status == LS_OK ? ls_group_run(r->group, &gather, err) : status;
}

/* What a peer gives for a status and is none fails the save as one of a peer. */
Test(save, a_rank_tells_a_status_that_is_none, .init = make, .fini = discard)
{
    static const int32_t none[] = {7, -1000, LS_EAGAIN};

    for (int i = 0; i < 3; i++) {
        struct ls_job *job = lst_step_job(directory, "mlp.json", RUN);
        struct lst_step_ranks ranks;

        lst_step_run(job, 2, save_with_a_liar, (void *)(uintptr_t)&none[i], &ranks);
        cr_expect_eq(ranks.status[0], LS_EPEER, "%d", ranks.status[0]);
        cr_expect_not_null(strstr(ranks.err[0].message, "rank 1: there is no such status"), "%s", ranks.err[0].message);
        ls_job_destroy(job);
    }
}

static const char good[] = "{\"format\":1,\"step\":7,\"validated_epochs\":1,\"job\":{\"seed\":1},"
                           "\"epoch\":{\"samples\":128,\"loss\":\"nan\",\"metrics\":[\"3\"]},"
                           "\"last_epoch\":{\"samples\":300,\"loss\":\"1.5\",\"metrics\":[\"-inf\"]},"
                           "\"validation\":{\"samples\":0,\"loss\":\"0\",\"metrics\":[]}}";

static enum ls_status read_with(const char *from, const char *to)
{
    char text[sizeof good + 64];
    const char *at = strstr(good, from);
    struct ls_progress progress;
    char *job = NULL;
    enum ls_status status;

    cr_assert_neq(at, NULL, "%s", from);
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    status = ls_progress_read(text, &progress, &job, NULL);
    if (status == LS_OK)
        ls_free(job);
    return status;
}

/* Where the job stood is read back whatever the loss was, and refused where a number cannot be meant. */
Test(save, progress_is_checked)
{
    cr_expect_eq(read_with("7", "8"), LS_OK);
    cr_expect_eq(read_with("7", "-7"), LS_ECORRUPT);
    cr_expect_eq(read_with(":1,\"job\"", ":-1,\"job\""), LS_ECORRUPT);
    cr_expect_eq(read_with("128", "-128"), LS_ECORRUPT);
    cr_expect_eq(read_with("\"nan\"", "1.5"), LS_ECORRUPT);
    cr_expect_eq(read_with("\"format\":1", "\"format\":2"), LS_ECORRUPT);
    cr_expect_eq(read_with("[\"3\"]", "[3]"), LS_ECORRUPT);
}
