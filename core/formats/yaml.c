/* SPDX-License-Identifier: Apache-2.0 */
/* The only user of libyaml: its events become JSON values. Recursion is bounded by MAX_DEPTH. */
#include "core/formats/yaml.h"

#include "core/base/buf.h"
#include "core/base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_DEPTH 32
#define MAX_TEXT (1 << 20)
#define MAX_NODES 20000
#define MAX_PATH 512

struct loader {
    yaml_parser_t parser;
    const char *name;
    json_t *lines;
    char path[MAX_PATH];
    int nodes;
    struct ls_error *err;
};

static enum ls_status read_node(struct loader *in, const yaml_event_t *event, int depth, json_t **value);

static int line_of(const yaml_event_t *event)
{
    return (int)event->start_mark.line + 1;
}

static enum ls_status next(struct loader *in, yaml_event_t *event)
{
    const yaml_parser_t *parser = &in->parser;

    if (yaml_parser_parse(&in->parser, event))
        return LS_OK;
    return ls_error_set(in->err, LS_EINVAL, "%s, line %d: it is not valid YAML: %s", in->name,
                        (int)parser->problem_mark.line + 1,
                        parser->problem != NULL ? parser->problem : "it cannot be read");
}

static enum ls_status refuse(struct loader *in, const yaml_event_t *event, const char *what)
{
    return ls_error_set(in->err, LS_EINVAL, "%s, line %d: %s", in->name, line_of(event), what);
}

static enum ls_status out_of_memory(struct loader *in)
{
    return ls_error_set(in->err, LS_ENOMEM, "not enough memory to read %s", in->name);
}

static bool all_digits(const char *text, const char *digits)
{
    return text[0] != '\0' && text[strspn(text, digits)] == '\0';
}

static bool is_word(const char *text, const char *lower, const char *title, const char *upper)
{
    return strcmp(text, lower) == 0 || strcmp(text, title) == 0 || strcmp(text, upper) == 0;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool looks_like_float(const char *text)
{
    const char *c = text;
    size_t whole, fraction = 0;

    if (*c == '-' || *c == '+')
        c++;
    whole = strspn(c, "0123456789");
    c += whole;
    if (*c == '.') {
        c++;
        fraction = strspn(c, "0123456789");
        c += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*c == 'e' || *c == 'E') {
        c++;
        if (*c == '-' || *c == '+')
            c++;
        return all_digits(c, "0123456789");
    }
    return *c == '\0';
}

static enum ls_status read_number(struct loader *in, const yaml_event_t *event, const char *text, json_t **value)
{
    const char *digits = text[0] == '+' || text[0] == '-' ? text + 1 : text;
    int64_t integer;
    double real;

    if (all_digits(digits, "0123456789")) {
        if (!ls_str_to_i64(text, &integer))
            return refuse(in, event, "the integer is too large (64 bits are read)");
        *value = json_integer(integer);
        return LS_OK;
    }
    if (digits == text && text[0] == '0' && (text[1] == 'x' || text[1] == 'o')) {
        bool hex = text[1] == 'x';

        if (all_digits(text + 2, hex ? "0123456789abcdefABCDEF" : "01234567")) {
            if (strlen(text + 2) > (hex ? 15 : 20))
                return refuse(in, event, "the integer is too large (64 bits are read)");
            *value = json_integer(strtoll(text + 2, NULL, hex ? 16 : 8));
            return LS_OK;
        }
    }
    if (is_word(digits, ".inf", ".Inf", ".INF") || is_word(text, ".nan", ".NaN", ".NAN"))
        return refuse(in, event, "infinity and NaN are no values here");
    if (looks_like_float(text)) {
        if (!ls_str_to_f64(text, &real) || !isfinite(real))
            return refuse(in, event, "the number is too large");
        *value = json_real(real);
        return LS_OK;
    }
    *value = json_string(text);
    return LS_OK;
}

static enum ls_status read_scalar(struct loader *in, const yaml_event_t *event, json_t **value)
{
    const char *text = (const char *)event->data.scalar.value;
    enum ls_status status = LS_OK;

    if (strlen(text) != event->data.scalar.length)
        return refuse(in, event, "a text holds a zero byte");
    if (event->data.scalar.tag != NULL && strcmp((const char *)event->data.scalar.tag, "!") != 0)
        return refuse(in, event, "tags (!...) are not supported");
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || event->data.scalar.tag != NULL)
        *value = json_string(text);
    else if (text[0] == '\0' || strcmp(text, "~") == 0 || is_word(text, "null", "Null", "NULL"))
        *value = json_null();
    else if (is_word(text, "true", "True", "TRUE"))
        *value = json_true();
    else if (is_word(text, "false", "False", "FALSE"))
        *value = json_false();
    else
        status = read_number(in, event, text, value);
    if (status == LS_OK && *value == NULL)
        status = refuse(in, event, "a text is not UTF-8 or memory is short");
    return status;
}

/* Adds ".name" to the path and notes the line. Returns the length to cut back to. */
static size_t enter(struct loader *in, const char *name, int line)
{
    size_t length = strlen(in->path);

    if (length + strlen(name) + 2 < sizeof in->path) {
        if (length > 0)
            in->path[length] = '.';
        memcpy(in->path + length + (length > 0), name, strlen(name) + 1);
    }
    if (in->lines != NULL)
        (void)json_object_set_new(in->lines, in->path, json_integer(line));
    return length;
}

static enum ls_status read_pair(struct loader *in, const yaml_event_t *key, int depth, json_t *object)
{
    const char *name;
    yaml_event_t event;
    json_t *value = NULL;
    size_t kept;
    enum ls_status status;

    if (key->type != YAML_SCALAR_EVENT)
        return refuse(in, key, "a key must be a plain word");
    name = (const char *)key->data.scalar.value;
    if (strlen(name) != key->data.scalar.length || name[0] == '\0' || strlen(name) > 100)
        return refuse(in, key, "a key must be a plain word of at most 100 letters");
    if (key->data.scalar.anchor != NULL || key->data.scalar.tag != NULL)
        return refuse(in, key, "anchors and tags are not supported");
    if (json_object_get(object, name) != NULL)
        return ls_error_set(in->err, LS_EINVAL, "%s, line %d: the key %s is there twice", in->name, line_of(key), name);
    status = next(in, &event);
    if (status != LS_OK)
        return status;
    kept = enter(in, name, line_of(key));
    status = read_node(in, &event, depth, &value);
    in->path[kept] = '\0';
    yaml_event_delete(&event);
    if (status == LS_OK && json_object_set_new(object, name, value) != 0)
        status = refuse(in, key, "a key is not UTF-8 or memory is short");
    return status;
}

static enum ls_status read_item(struct loader *in, const yaml_event_t *event, int depth, json_t *array)
{
    json_t *item = NULL;
    char index[24];
    size_t kept;
    enum ls_status status;

    (void)snprintf(index, sizeof index, "%zu", json_array_size(array));
    kept = enter(in, index, line_of(event));
    status = read_node(in, event, depth, &item);
    in->path[kept] = '\0';
    if (status == LS_OK && json_array_append_new(array, item) != 0)
        status = out_of_memory(in);
    return status;
}

/* The pairs of a mapping or the items of a sequence, up to its end. */
static enum ls_status read_collection(struct loader *in, bool mapping, int depth, json_t **value)
{
    const yaml_event_type_t end = mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    json_t *made = mapping ? json_object() : json_array();
    enum ls_status status = made != NULL ? LS_OK : out_of_memory(in);
    bool ended = false;

    while (status == LS_OK && !ended) {
        yaml_event_t event;

        status = next(in, &event);
        if (status != LS_OK)
            break;
        ended = event.type == end;
        if (!ended)
            status = mapping ? read_pair(in, &event, depth, made) : read_item(in, &event, depth, made);
        yaml_event_delete(&event);
    }
    if (status == LS_OK)
        *value = made;
    else
        json_decref(made);
    return status;
}

static bool has_anchor(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    default:
        return false;
    }
}

static enum ls_status read_node(struct loader *in, const yaml_event_t *event, int depth, json_t **value)
{
    if (depth >= MAX_DEPTH)
        return refuse(in, event, "it is nested too deeply");
    if (++in->nodes > MAX_NODES)
        return refuse(in, event, "it has too many entries");
    if (event->type == YAML_ALIAS_EVENT || has_anchor(event))
        return refuse(in, event, "anchors, aliases (&, *) and tags (!) are not supported; write the value out");
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(in, event, value);
    case YAML_SEQUENCE_START_EVENT:
        return read_collection(in, false, depth + 1, value);
    case YAML_MAPPING_START_EVENT:
        return read_collection(in, true, depth + 1, value);
    default:
        return refuse(in, event, "a value is missing");
    }
}

/* The document's value; what follows must be the end of the stream. */
static enum ls_status read_stream(struct loader *in, json_t **value)
{
    enum ls_status status = LS_OK;
    int documents = 0;
    bool ended = false;

    while (status == LS_OK && !ended) {
        yaml_event_t event;

        status = next(in, &event);
        if (status != LS_OK)
            break;
        if (event.type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            status = refuse(in, &event, "there is a second document (---); only one is read");
        else if (event.type == YAML_STREAM_END_EVENT)
            ended = true;
        else if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT &&
                 event.type != YAML_DOCUMENT_END_EVENT)
            status = read_node(in, &event, 0, value);
        yaml_event_delete(&event);
    }
    return status;
}

enum ls_status ls_yaml_parse(const char *text, size_t length, const char *name, json_t **value, json_t **lines,
                             struct ls_error *err)
{
    struct loader in = {.name = name, .err = err};
    json_t *found = NULL;
    enum ls_status status;

    if (length > MAX_TEXT)
        return ls_error_set(err, LS_EINVAL, "%s is longer than %d bytes", name, MAX_TEXT);
    if (!yaml_parser_initialize(&in.parser))
        return out_of_memory(&in);
    in.lines = lines != NULL ? json_object() : NULL;
    yaml_parser_set_input_string(&in.parser, (const unsigned char *)(text != NULL ? text : ""), length);
    status = read_stream(&in, &found);
    yaml_parser_delete(&in.parser);
    if (status != LS_OK) {
        json_decref(found);
        json_decref(in.lines);
        return status;
    }
    *value = found != NULL ? found : json_null();
    if (lines != NULL)
        *lines = in.lines;
    return LS_OK;
}
