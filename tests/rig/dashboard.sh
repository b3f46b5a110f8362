#!/usr/bin/env bash
# dashboard.sh : conf/grafana by Grafana's own schema, which is TypeScript types on npm. Needs npm.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
schema=13.2.3
compiler=5.9.3
command -v npm >/dev/null || { echo "dashboard.sh: needs npm: apt-get install npm" >&2; exit 1; }
tools=${WARDEN_RIG_DIR:-$here/../../.rig}/grafana-$schema
if [[ ! -e "$tools/.complete" ]]; then
  mkdir -p "$tools"
  echo '{}' >"$tools/package.json"
  (cd "$tools" && npm install --silent --ignore-scripts --no-audit --no-fund "@grafana/schema@$schema" "typescript@$compiler")
  : >"$tools/.complete"
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp -r "$tools/node_modules" "$dir/"
cp "$here/../../conf/grafana/ovpn-warden.json" "$dir/dashboard.json"
cat >"$dir/write.js" <<'JS'
// check.ts: the dashboard and each panel as values of their types. JSON has no enums: they become their values.
const fs = require("fs"), path = require("path");
const types = "node_modules/@grafana/schema/dist/types";
for (const name of fs.readdirSync(types, { recursive: true }).filter((name) => name.endsWith(".d.ts"))) {
  const file = path.join(types, name), text = fs.readFileSync(file, "utf8");
  fs.writeFileSync(file, text.replace(/export declare (?:const )?enum (\w+) \{([^}]*)\}/g, (_, type, body) =>
    `export type ${type} = ${body.match(/(?<==\s*)("[^"]*"|-?\d+)/g).join(" | ")};`));
}
const { panels, ...rest } = JSON.parse(fs.readFileSync("dashboard.json"));
const lines = [`import type { Dashboard, Panel, RowPanel } from "./${types}/veneer/dashboard.types";`];
for (const name of ["timeseries", "stat"]) lines.push(`import type * as ${name} from "./${types}/raw/composable/${name}/panelcfg/x/types.gen";`);
lines.push(`export const dashboard: Dashboard = ${JSON.stringify(rest)};`);
for (const panel of panels) {
  const { options, ...others } = panel, id = `panel${panel.id}`;
  if (panel.type === "row") { lines.push(`export const ${id}: RowPanel = ${JSON.stringify(panel)};`); continue; }
  const custom = panel.type === "timeseries" ? ", timeseries.FieldConfig" : "";
  lines.push(`export const ${id}: Panel<Record<string, unknown>${custom}> = ${JSON.stringify(others)};`);
  lines.push(`export const options${id}: ${panel.type}.Options = ${JSON.stringify(options)};`);
}
fs.writeFileSync("check.ts", lines.join("\n"));
console.log(`${panels.length} panels`);
JS
cd "$dir"
node write.js
node node_modules/typescript/bin/tsc --noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler --target es2022 check.ts
