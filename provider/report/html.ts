// HTML by template strings in which every value is escaped but what was made by this tag itself. What a guest said can't become markup.

export interface Html {
  readonly markup: string;
}

type Part = string | number | Html | readonly Part[] | undefined | false;

export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return { markup: strings.map((text, index) => text + (index < parts.length ? rendered(parts[index]) : "")).join("") };
}

function rendered(part: Part): string {
  if (part === undefined || part === false) return "";
  if (typeof part === "string" || typeof part === "number") return escaped(String(part));
  return isHtml(part) ? part.markup : part.map(rendered).join("");
}

const isHtml = (part: Html | readonly Part[]): part is Html => "markup" in part;

const NAMES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

// A text that turns the direction of what follows could show a name as another one.
const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => NAMES[character] ?? "").replace(/[^\P{Cc}\t\n\r]|[\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
