/* SPDX-License-Identifier: Apache-2.0 */
/* Reading Keras JSON: the examples, functional graphs in any order, and errors that name layer and option. */
#include "tests/support/trainer.h"
#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define INPUT "{\"class_name\":\"InputLayer\",\"config\":{\"batch_shape\":[null,8,8,2],\"name\":\"in\"}}"

/* A Sequential model of INPUT and one more layer. */
static enum ls_status read_layer(const char *class_name, const char *options, struct ls_model **model,
                                 struct ls_error *err)
{
    char text[2048];
    int length =
        snprintf(text, sizeof(text),
                 "{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[" INPUT
                 ",{\"class_name\":\"%s\",\"config\":{\"name\":\"x\"%s%s}}]}}",
                 class_name, options[0] != '\0' ? "," : "", options);
    return ls_model_from_keras(text, (size_t)length, model, err);
}

static void refuse_text(const char *text, const char *word)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = NULL;
    enum ls_status status = ls_model_from_keras(text, strlen(text), &model, &err);
    cr_assert(status == LS_EINVAL || status == LS_EUNSUPPORTED, "\"%s\" was read: %d", text, (int)status);
    cr_assert_null(model);
    cr_assert_not_null(strstr(err.message, word), "\"%s\" does not say \"%s\"", err.message, word);
}

static void refuse(const char *class_name, const char *options, const char *word)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = NULL;
    enum ls_status status = read_layer(class_name, options, &model, &err);
    cr_assert(status == LS_EINVAL || status == LS_EUNSUPPORTED, "%s with %s was read", class_name, options);
    cr_assert_null(model);
    cr_assert_not_null(strstr(err.message, "\"x\""), "\"%s\" does not name the layer", err.message);
    cr_assert_not_null(strstr(err.message, word), "\"%s\" does not say \"%s\"", err.message, word);
}

/* Every option that would change the result is refused by name, whatever the layer. */
Test(keras_json, refuses_options)
{
    refuse("LSTM", "\"units\":4", "LSTM");
    refuse("Denze", "\"units\":4", "did you mean \"Dense\"");
    refuse("Sequential", "\"layers\":[]", "model inside the model");
    refuse("Dense", "", "units");
    refuse("Dense", "\"units\":0", "units");
    refuse("Dense", "\"units\":\"4\"", "units");
    refuse("Dense", "\"units\":4,\"unitz\":5", "did you mean \"units\"");
    refuse("Dense", "\"units\":4,\"activation\":\"selu\"", "selu");
    refuse("Dense", "\"units\":4,\"kernel_regularizer\":{\"class_name\":\"L2\"}", "kernel_regularizer");
    refuse("Dense", "\"units\":4,\"kernel_initializer\":\"orthogonal\"", "orthogonal");
    refuse("Dense", "\"units\":4,\"kernel_initializer\":{\"class_name\":\"RandomUniform\",\"config\":{\"minval\":1}}",
           "minval");
    refuse("Dense", "\"units\":4,\"dtype\":\"mixed_float16\"", "mixed_float16");
    refuse("Dense", "\"units\":4,\"dtype\":{\"config\":{\"name\":\"bfloat16\"}}", "bfloat16");
    refuse("Dense", "\"units\":4,\"surprise\":1", "surprise");
    refuse("Conv2D", "\"filters\":4,\"kernel_size\":3,\"groups\":2", "groups");
    refuse("Conv2D", "\"filters\":4,\"kernel_size\":3,\"data_format\":\"channels_first\"", "channels_first");
    refuse("Conv2D", "\"filters\":4,\"kernel_size\":3,\"padding\":\"causal\"", "causal");
    refuse("Conv2D", "\"filters\":4,\"kernel_size\":[3,3,3]", "kernel_size");
    refuse("Conv2D", "\"filters\":4,\"kernel_size\":9", "does not fit");
    refuse("Conv2D", "\"filters\":4,\"kernel_size\":3,\"strides\":2,\"dilation_rate\":2", "exclude each other");
    refuse("MaxPooling2D", "\"pool_size\":0", "pool_size");
    refuse("Reshape", "\"target_shape\":[3,-1]", "cannot take the shape");
    refuse("Reshape", "\"target_shape\":[-1,-1]", "more than one -1");
    refuse("Dropout", "\"rate\":1.0", "rate");
    refuse("Dropout", "\"rate\":0.5,\"noise_shape\":[1]", "noise_shape");
    refuse("BatchNormalization", "\"axis\":1", "axis");
    refuse("BatchNormalization", "\"renorm\":true", "renorm");
    refuse("BatchNormalization", "\"momentum\":1.5", "momentum");
    refuse("ReLU", "\"max_value\":6.0", "max_value");
    refuse("ReLU", "\"negative_slope\":0.1", "negative_slope");
    refuse("Softmax", "\"axis\":1", "axis");
    refuse("Rescaling", "\"scale\":[1,2]", "scale");
    refuse("Add", "", "inputs");
    refuse("Concatenate", "\"axis\":0", "axis");
}

/* What says nothing about results is accepted: null and false of newer versions, seeds, null initialisers. */
Test(keras_json, accepts_neutral_options)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = NULL;
    cr_assert_eq(read_layer("Dense", "\"units\":4,\"newer\":null,\"newest\":false,\"trainable\":false", &model, &err),
                 LS_OK, "%s", err.message);
    cr_assert_eq(ls_model_variable_count(model), 2);
    cr_assert_eq(ls_model_variable(model, 0)->role, LS_ROLE_STATE, "a frozen kernel is no trainable variable");
    cr_assert_str_eq(ls_model_variable(model, 1)->path, "x/bias");
    ls_model_destroy(model);
    cr_assert_eq(read_layer("Dropout", "\"rate\":0.5,\"seed\":7", &model, &err), LS_OK, "%s", err.message);
    ls_model_destroy(model);
}

/* "same" and "valid" windows have TensorFlow's sizes. */
Test(keras_json, window_sizes)
{
    static const struct {
        const char *class_name, *options;
        int64_t height, width;
    } cases[] = {
        {"Conv2D", "\"filters\":3,\"kernel_size\":3,\"padding\":\"valid\"", 6, 6},
        {"Conv2D", "\"filters\":3,\"kernel_size\":[3,5],\"strides\":[2,3],\"padding\":\"same\"", 4, 3},
        {"Conv2D", "\"filters\":3,\"kernel_size\":3,\"dilation_rate\":2", 4, 4},
        {"MaxPooling2D", "\"pool_size\":3", 2, 2},
        {"MaxPooling2D", "\"pool_size\":3,\"strides\":[1,2],\"padding\":\"same\"", 8, 4},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ls_error err = LS_ERROR_INIT;
        struct ls_model *model = NULL;
        cr_assert_eq(read_layer(cases[i].class_name, cases[i].options, &model, &err), LS_OK, "%s", err.message);
        cr_assert_eq(ls_model_output_shape(model, 0)->dim[0], cases[i].height);
        cr_assert_eq(ls_model_output_shape(model, 0)->dim[1], cases[i].width);
        ls_model_destroy(model);
    }
}

/* What is no Keras 3 model is said so. */
Test(keras_json, refuses_files)
{
    refuse_text("", "not valid JSON");
    refuse_text("{\"class_name\":", "not valid JSON");
    refuse_text("[]", "no Keras model");
    refuse_text("{\"class_name\":\"Sequential\",\"config\":{},\"keras_version\":\"2.15\"}", "Keras 2");
    refuse_text("{\"module\":\"keras\",\"class_name\":\"Subclassed\",\"config\":{}}", "Subclassed");
    refuse_text("{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[]}}",
                "no array of layers");
    refuse_text("{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[" INPUT
                ",1]}}",
                "layer number 2");
    refuse_text(
        "{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[{\"class_name\":"
        "\"Dense\",\"config\":{\"name\":\"d\",\"units\":2}}]}}",
        "shape of its input");
    refuse_text(
        "{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[{\"class_name\":"
        "\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_shape\":[32,4]}}]}}",
        "batch size");
    refuse_text("{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[" INPUT
                "," INPUT "]}}",
                "InputLayer behind its first");
    refuse_text("{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[" INPUT
                ",{\"class_name\":\"Flatten\",\"config\":{\"name\":\"in\"}}]}}",
                "two layers are named");
    refuse_text("{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[" INPUT
                ",{\"module\":\"mine\",\"class_name\":\"Dense\",\"config\":{\"name\":\"d\",\"units\":2},"
                "\"registered_name\":\"mine>Dense\"}]}}",
                "class of its own");
}

/* Brackets without end are refused without running out of stack. */
Test(keras_json, refuses_depth)
{
    size_t length = 200000;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = NULL;
    char *text = ls_alloc(length);
    memset(text, '[', length);
    cr_assert_eq(ls_model_from_keras(text, length, &model, &err), LS_EINVAL);
    ls_free(text);
}

#define TENSOR(layer, call) \
    "{\"class_name\":\"__keras_tensor__\",\"config\":{\"keras_history\":[\"" layer "\"," call ",0]}}"
#define CALL(...) "{\"args\":[" __VA_ARGS__ "],\"kwargs\":{\"mask\":null}}"
#define ENTRY(class_name, name, options, calls) \
    "{\"class_name\":\"" class_name "\",\"config\":{\"name\":\"" name "\"" options "},\"inbound_nodes\":[" calls "]}"
#define GRAPH(layers, inputs, outputs)                                                                   \
    "{\"module\":\"keras\",\"class_name\":\"Functional\",\"config\":{\"name\":\"f\",\"layers\":[" layers \
    "],\"input_layers\":" inputs ",\"output_layers\":" outputs "}}"
#define GRAPH_INPUT ENTRY("InputLayer", "in", ",\"batch_shape\":[null,4]", "")
#define SHARED(calls) ENTRY("Dense", "d", ",\"units\":4", calls)

/* The order of layers in the file is free; a shared layer has one set of variables and a node for every call. */
Test(keras_json, functional)
{
    static const char text[] =
        GRAPH(ENTRY("Add", "sum", "", CALL("[" TENSOR("d", "1") "," TENSOR("in", "0") "]")) "," SHARED(
                  CALL(TENSOR("in", "0")) "," CALL(TENSOR("d", "0"))) "," GRAPH_INPUT,
              "[[\"in\",0,0]]", "[\"sum\",0,0]");
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = NULL;
    cr_assert_eq(ls_model_from_keras(text, strlen(text), &model, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_model_variable_count(model), 2);
    cr_assert(ls_shape_equal(ls_model_output_shape(model, 0), &LS_SHAPE(4)));
    ls_model_destroy(model);
}

/* Graphs that do not hang together are refused by the name of the layer. */
Test(keras_json, refuses_graphs)
{
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(CALL(TENSOR("d", "1")) "," CALL(TENSOR("d", "0"))), "[[\"in\",0,0]]",
                      "[\"d\",0,0]"),
                "depends on its own output");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(CALL(TENSOR("gone", "0"))), "[[\"in\",0,0]]", "[\"d\",0,0]"), "\"gone\"");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(CALL(TENSOR("in", "3"))), "[[\"in\",0,0]]", "[\"d\",0,0]"),
                "does not exist");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(CALL(TENSOR("in", "0")) "," CALL(TENSOR("in", "0"))), "[[\"in\",0,0]]",
                      "[\"d\",0,0]"),
                "leads to no output");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(""), "[[\"in\",0,0]]", "[\"in\",0,0]"), "never called");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED("{\"args\":[" TENSOR("in", "0") "],\"kwargs\":{\"initial_state\":1}}"),
                      "[[\"in\",0,0]]", "[\"d\",0,0]"),
                "initial_state");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(CALL("3.5")), "[[\"in\",0,0]]", "[\"d\",0,0]"), "\"d\"");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(CALL(TENSOR("in", "0"))), "[[\"d\",0,0]]", "[\"d\",0,0]"),
                "no InputLayer");
    refuse_text(GRAPH(GRAPH_INPUT "," ENTRY("InputLayer", "two", ",\"batch_shape\":[null,4]",
                                            "") "," SHARED(CALL(TENSOR("two", "0"))),
                      "[[\"in\",0,0]]", "[\"d\",0,0]"),
                "not among the model's inputs");
    refuse_text(GRAPH(GRAPH_INPUT "," SHARED(CALL(TENSOR("in", "0")) "," CALL(TENSOR("p", "0"))) "," ENTRY(
                          "Dense", "p", ",\"units\":3", CALL(TENSOR("d", "0"))),
                      "[[\"in\",0,0]]", "[\"d\",1,0]"),
                "differ in the last axis");
}

static struct ls_model *read_example(const char *name)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf buf = {0};
    struct ls_model *model = NULL;
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/examples/mnist/%s", LS_SOURCE_DIR, name);
    cr_assert_eq(ls_fs_read(path, 1 << 20, &buf, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_model_from_keras((const char *)buf.data, buf.length, &model, &err), LS_OK, "%s", err.message);
    ls_buf_deinit(&buf);
    return model;
}

/* The examples have the sizes they are documented with, and a summary with Keras' counts. */
Test(keras_json, examples)
{
    static const struct {
        const char *name, *total, *trainable;
        int variables;
    } cases[] = {
        {"mlp.json", "Total params: 669,706\n", "Trainable params: 669,706\n", 6},
        {"cnn.json", "Total params: 1,199,882\n", "Trainable params: 1,199,882\n", 8},
        {"tied.json", "Total params: 55,306\n", "Trainable params: 55,178\n", 10},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ls_model *model = read_example(cases[i].name);
        char *summary = ls_model_summary(model);
        cr_assert_eq(ls_model_variable_count(model), cases[i].variables);
        cr_assert(ls_shape_equal(ls_model_input_shape(model, 0), &LS_SHAPE(28, 28)));
        cr_assert_not_null(strstr(summary, cases[i].total), "%s", summary);
        cr_assert_not_null(strstr(summary, cases[i].trainable), "%s", summary);
        ls_free(summary);
        ls_model_destroy(model);
    }
}

/* Every allocation of reading may fail without a leak or a crash. */
Test(keras_json, memory)
{
    for (uint64_t nth = 1; nth < 60; nth++) {
        struct ls_error err = LS_ERROR_INIT;
        struct ls_model *model = NULL;
        ls_alloc_fail_after(nth);
        enum ls_status status = read_layer("BatchNormalization", "", &model, &err);
        ls_alloc_fail_after(0);
        cr_assert(status == LS_OK || status == LS_ENOMEM, "allocation %d: %s", (int)nth, err.message);
        if (status == LS_OK)
            ls_model_destroy(model);
    }
}
