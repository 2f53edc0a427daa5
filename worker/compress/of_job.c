/* SPDX-License-Identifier: Apache-2.0 */
/* Which gradients of a job's step are compressed, see of_job.h. */
#include "worker/compress/of_job.h"

#include "core/base/alloc.h"

/* The last segment in which a sum of gradients is made. */
static int last_segment(const struct ls_program *program)
{
    int last = -1;

    for (int i = 0; i < ls_program_reduce_count(program); i++)
        if (ls_program_reduce_at(program, i)->segment > last)
            last = ls_program_reduce_at(program, i)->segment;
    return last;
}

/* Of a batch statistic's parameters the sums are used again in the segments behind them: they stay exact. Those are
 * vectors; whatever else is reduced, and everything in the last segment, is a gradient and nothing else. */
static bool is_taken(const struct ls_program *program, int reduce)
{
    const struct ls_program_reduce *r = ls_program_reduce_at(program, reduce);

    return r->dtype == LS_F32 && !r->moments && (r->shape.rank >= 2 || r->segment == last_segment(program));
}

/* Into room for as many as there are reduces; in order of reduce. */
static int list_items(const struct ls_trainer *trainer, const struct ls_step_program *program,
                      struct ls_compress_item *items)
{
    int count = 0;

    for (int reduce = 0; reduce < ls_program_reduce_count(program->program); reduce++)
        for (int v = 0; v < ls_model_variable_count(trainer->model); v++) {
            const struct ls_variable_info *info = ls_model_variable(trainer->model, v);
            int output = program->gradient_output[v];

            if (output >= 0 && ls_program_output_at(program->program, output)->reduce == reduce &&
                is_taken(program->program, reduce))
                items[count++] = (struct ls_compress_item){
                    .reduce = reduce, .variable = v, .path = info->path, .shape = info->shape};
        }
    return count;
}

enum ls_status ls_compress_of_job(const struct ls_trainer *trainer, const struct ls_step_program *program, int rank,
                                  int world, struct ls_group *group, struct ls_compress **compress,
                                  struct ls_error *err)
{
    const struct ls_job *job = trainer->job;
    struct ls_compress_options options = {.method = job->compression.name,
                                          .ratio = job->compression.ratio,
                                          .rank_of_matrix = job->compression.rank,
                                          .start_step = job->compression.start_step,
                                          .seed = job->seed,
                                          .rank = rank,
                                          .world = world,
                                          .reduce_count = ls_program_reduce_count(program->program)};
    struct ls_compress_item *items;
    enum ls_status status;

    if (job->compression.name == NULL)
        return LS_OK;
    items = ls_alloc_zeroed((size_t)ls_model_variable_count(trainer->model) + 1, sizeof *items);
    if (items == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the compression of gradients");
    options.item_count = list_items(trainer, program, items);
    options.items = items;
    status = ls_compress_create(&options, group, compress, err);
    ls_free(items);
    return status;
}
