// Exits 0 when node_modules holds what package-lock.json asks for. Compares contents, not times: npm writes what it
// installed to node_modules/.package-lock.json, as its last act.

import { readFileSync } from "node:fs";

const packages = (file) => JSON.parse(readFileSync(file, "utf8")).packages;

function current() {
  const wanted = packages("package-lock.json");
  const installed = packages("node_modules/.package-lock.json");
  const same = (path) => wanted[path]?.version === installed[path]?.version && wanted[path]?.integrity === installed[path]?.integrity;
  // Optional packages are those of other platforms: missing is right, a wrong version is not.
  const present = Object.keys(wanted).filter((path) => path !== "" && !wanted[path].optional);
  return [...present, ...Object.keys(installed)].every(same);
}

let ok = false;
try {
  ok = current();
} catch (error) {
  if (error.code !== "ENOENT" && !(error instanceof SyntaxError)) throw error;
}
process.exitCode = ok ? 0 : 1;
