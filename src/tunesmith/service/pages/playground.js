"use strict";

const WORDS = {
  en: { key: "Key", keyHelp: "Enter the key that 'tunesmith serve' printed when it first began; 'tunesmith keys create' makes another.", model: "Model", text: "Text", second: "Second text, or question", history: "Ids of items, parted by commas",
        marks: "Mark the two entities with [ ] in the text, the first one first.", ask: "Ask", asking: "Asking ...",
        none: "Nothing was found.", empty: "The answer is an empty text.", noAnswer: "There is no answer in the passage.", gone: "The service cannot be reached." },
  zh: { key: "密钥", keyHelp: "请输入 tunesmith serve 首次启动时显示的密钥；也可用 tunesmith keys create 新建。", model: "模型", text: "文本", second: "第二段文本或问题", history: "物品编号，以逗号分隔",
        marks: "请用 [ ] 在文本中依次标出两个实体。", ask: "提问", asking: "正在提问……",
        none: "没有找到任何内容。", empty: "回答为空文本。", noAnswer: "文中没有答案。", gone: "无法连接服务。" },
};
const COLOURS = ["#f2c879", "#a9d6a4", "#9fc9ee", "#e8b0c8", "#c9b8ec", "#f0b39a", "#a8dcd6", "#d8d48a"];
const find = (id) => document.getElementById(id);
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let models = {};

function say() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const place of document.querySelectorAll("[data-text]")) place.textContent = WORDS[language][place.dataset.text];
  find("language").textContent = language === "zh" ? "English" : "中文";
}

async function call(method, path, body) {
  const headers = { authorization: `Bearer ${find("key").value.trim()}`, "accept-language": language };
  if (body) headers["content-type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body ? JSON.stringify(body) : undefined });
  const told = await response.json();
  if (!response.ok) throw new Error(told.detail || (told.error && told.error.message) || String(response.status));
  return told;
}

function problem(error) {
  const place = find("answer");
  place.className = "problem";
  place.textContent = error instanceof TypeError ? WORDS[language].gone : error.message;
}

async function listModels() {
  const listed = (await call("GET", "/v1/models")).data.map((one) => one.id);
  const told = await Promise.all(listed.map((name) => call("GET", `/v1/models/${name}`)));
  models = Object.fromEntries(told.map((one) => [one.name, one]));
  find("model").replaceChildren(...listed.map((name) => new Option(name, name)));
  find("model").disabled = find("ask").disabled = listed.length === 0;
  find("keyHelp").hidden = true;
  showFields();
}

function showFields() {
  const model = models[find("model").value];
  if (!model) return;
  const inputs = model.inputs.map((name) => name.replace("?", ""));
  find("textLabel").hidden = inputs.includes("history");
  find("secondLabel").hidden = !inputs.includes("second");
  find("historyLabel").hidden = !inputs.includes("history");
  find("marksHelp").hidden = !inputs.includes("marks");
  find("about").textContent = `${model.task} · ${model.version} · ${model.form} · ${model.labels.slice(0, 12).join(", ")}`;
}

function question(inputs) {
  if (inputs.includes("history")) return { history: find("history").value.split(/[,，\s]+/).filter(Boolean) };
  const asked = { text: find("text").value };
  if (!find("secondLabel").hidden && find("second").value) asked.second = find("second").value;
  if (inputs.includes("marks")) {
    const points = [...asked.text];
    const marks = [];
    const kept = [];
    for (const point of points) {
      if (point === "[") marks.push({ start: kept.length, end: 0, label: `e${marks.length + 1}` });
      else if (point === "]" && marks.length) marks[marks.length - 1].end = kept.length;
      else kept.push(point);
    }
    asked.text = kept.join("");
    asked.marks = marks.slice(0, 2);
  }
  return asked;
}

function highlighted(text, spans, labels) {
  const points = [...text];
  const parts = document.createElement("div");
  let at = 0;
  for (const span of [...spans].sort((one, other) => one.start - other.start)) {
    if (span.start < at) continue;
    parts.append(points.slice(at, span.start).join(""));
    const mark = document.createElement("mark");
    mark.style.background = COLOURS[Math.max(0, labels.indexOf(span.label)) % COLOURS.length];
    mark.textContent = points.slice(span.start, span.end).join("");
    const label = document.createElement("sub");
    label.textContent = span.score == null ? span.label : `${span.label} ${span.score.toFixed(2)}`;
    mark.append(label);
    parts.append(mark);
    at = span.end;
  }
  parts.append(points.slice(at).join(""));
  return parts;
}

function scoreTable(scores) {
  const table = document.createElement("table");
  const ranked = Object.entries(scores).sort((one, other) => (other[1] || 0) - (one[1] || 0)).slice(0, 12);
  for (const [label, score] of ranked) {
    const row = table.insertRow();
    row.insertCell().textContent = label;
    row.insertCell().textContent = score == null ? "" : score.toFixed(3);
    const meter = document.createElement("meter");
    meter.value = score || 0;
    row.insertCell().append(meter);
  }
  return table;
}

function show(answer, asked, model) {
  const place = find("answer");
  place.className = "";
  place.replaceChildren();
  const spans = Array.isArray(answer.label) && answer.label.length && typeof answer.label[0] === "object";
  if (answer.unknown) place.append(answer.unknown[language]);
  else if (spans) place.append(highlighted(asked.text, answer.label, model.labels));
  else if (answer.answer === "") place.append(WORDS[language].noAnswer);
  else if (Array.isArray(answer.label)) place.append(answer.label.join(", ") || WORDS[language].none);
  else place.append(String(answer.label ?? "") || WORDS[language].empty);
  if (answer.scores && Object.keys(answer.scores).length && !spans) place.append(scoreTable(answer.scores));
}

find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const model = models[find("model").value];
  const asked = question(model.inputs.map((name) => name.replace("?", "")));
  find("ask").disabled = true;
  find("ask").textContent = WORDS[language].asking;
  try {
    const told = await call("POST", `/v1/models/${model.name}/predict`, { inputs: [asked] });
    show(told.answers[0], asked, model);
  } catch (error) {
    problem(error);
  } finally {
    find("ask").disabled = false;
    say();
  }
});
find("key").addEventListener("change", () => listModels().then(() => find("answer").replaceChildren(), problem));
find("model").addEventListener("change", showFields);
find("language").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; say(); });
say();
