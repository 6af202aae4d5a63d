"use strict";

function make(name, attributes = {}, text = "", ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  element.append(...children);
  return element;
}

function kindOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kindOf).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  if (schema.const !== undefined) return schema.const;
  if (schema.type === "array") return schema.items ? `list of ${kindOf(schema.items)}` : "list";
  return schema.type || "";
}

const row = cells => make("tr", {}, "", ...cells.map(cell => make("td", {}, cell)));
const table = rows => make("table", {}, "", make("tbody", {}, "", ...rows.map(row)));

function example(method, path, operation) {
  const address = location.origin + path;
  if (operation.requestBody) return `curl -F file=@radiograph.dcm '${address}?wait=60'`;
  return `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${address}'`;
}

function operationOf(method, path, operation) {
  const article = make("article", {"data-path": path, "data-method": method});
  article.append(make("h2", {}, "", make("span", {class: "method"}, method.toUpperCase()), path));
  article.append(make("p", {}, operation.description || operation.summary));
  const parameters = (operation.parameters || []).map(one => [one.name, one.in, kindOf(one.schema), one.description || ""]);
  const form = operation.requestBody?.content["multipart/form-data"]?.schema.properties || {};
  for (const [name, schema] of Object.entries(form)) parameters.push([name, "form", "file", schema.description || ""]);
  if (parameters.length) article.append(table(parameters));
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const content = Object.entries(answer.content || {});
    const kinds = content.map(([kind, {schema}]) => kind === "application/json" ? kindOf(schema) : kind);
    return [status, kinds.join(", "), answer.description];
  });
  article.append(table(answers));
  article.append(make("pre", {}, example(method, path, operation)));
  return article;
}

function schemaOf(name, schema) {
  const fields = Object.entries(schema.properties || {}).map(([field, one]) => [field, kindOf(one), one.description || ""]);
  return make("article", {}, "", make("h3", {}, name), make("p", {}, schema.description || ""), table(fields));
}

fetch("openapi.json").then(answer => answer.json()).then(api => {
  document.getElementById("description").textContent = api.info.description;
  const operations = document.getElementById("operations");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) operations.append(operationOf(method, path, operation));
  }
  const schemas = document.getElementById("schemas");
  for (const [name, schema] of Object.entries(api.components.schemas)) schemas.append(schemaOf(name, schema));
});
