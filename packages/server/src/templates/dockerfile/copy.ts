import { posix } from 'node:path'
import type { BuildStep } from '../recipe-steps.js'
import { invalid, type Instruction } from './parse.js'
import { expand, jsonList, splitWords } from './words.js'

/** Where the context lies in the sandbox while a template is built. */
export const contextPath = '/tmp/vm0-context'

/**
 * Runs in the sandbox. Arguments: target, owner, mode (empty: as they are), then the sources, in which `*`, `?` and `[…]` stand for
 * names. Files are gathered first, so that owner and mode are those of what is copied and of nothing else. What is in a
 * folder is copied, not the folder itself.
 */
const script = String.raw`
set -e
context=$1 target=$2 owner=$3 mode=$4
shift 4
cd "$context"
stage=$(mktemp -d /tmp/vm0-stage-XXXXXX)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/out"
IFS=
count=0
for pattern; do
  for source in $pattern; do
    if [ ! -e "$source" ] && [ ! -L "$source" ]; then echo "$pattern is not in the folder" >&2; exit 1; fi
    count=$((count + 1))
  done
done
isFolder=
case $target in */) isFolder=1 ;; esac
if [ -d "$target" ]; then isFolder=1; fi
if [ "$count" -gt 1 ]; then
  if [ -z "$isFolder" ]; then echo "several files go into a folder: expected a / at the end of $target" >&2; exit 1; fi
fi
copy() { cp -R -P --preserve=mode,timestamps,links -- "$@"; }
for pattern; do
  for source in $pattern; do
    if [ -d "$source" ] && [ ! -L "$source" ]; then isFolder=1; copy "$source/." "$stage/out/"
    elif [ -n "$isFolder" ]; then copy "$source" "$stage/out/"
    else copy "$source" "$stage/out/$(basename -- "$target")"; fi
  done
done
chown -hR 0:0 "$stage/out"
if [ -n "$owner" ]; then chown -hR "$owner" "$stage/out"; fi
if [ -n "$mode" ]; then chmod -R "$mode" "$stage/out"; fi
if [ -z "$isFolder" ]; then target=$(dirname -- "$target"); fi
mkdir -p -- "$target"
cd "$stage/out"
find . -mindepth 1 -maxdepth 1 -exec cp -R -P -p -t "$target" -- {} +
`

/** COPY, and what of ADD is the same. */
export function copyStep(
  { name, flags, rest, line }: Instruction,
  { cwd, variables, text }: { cwd: string; variables: Readonly<Record<string, string>>; text: string },
): BuildStep {
  for (const flag of flags.keys())
    if (flag === 'from') throw invalid(line, `${name} --from is not served: there is one stage only`)
    else if (!['chown', 'chmod', 'link'].includes(flag)) throw invalid(line, `${name} --${flag} is not served`)
  const words =
    jsonList(rest)?.map((word) => expand(word, variables, line)) ?? splitWords(expand(rest, variables, line), line)
  const target = words.pop()
  if (target === undefined || words.length === 0) throw invalid(line, `${name} has no source and target`)
  const sources = words.map((source) => sourceOf(name, source, line))
  const [owner, mode] = ['chown', 'chmod'].map((flag) => expand(flags.get(flag) ?? '', variables, line))
  if (!/^(?:[\w.-]+(?::[\w.-]+)?)?$/.test(owner ?? ''))
    throw invalid(line, `--chown=${owner}: expected USER or USER:GROUP`)
  if (!/^(?:[0-7]{3,4})?$/.test(mode ?? ''))
    throw invalid(line, `--chmod=${mode}: expected an octal number, such as 755`)
  const at = posix.resolve(cwd, target) + (/(?:\/|^\.|\/\.)$/.test(target) ? '/' : '')
  const command = ['sh', '-c', script, 'copy', contextPath, at, owner ?? '', mode ?? '', ...sources]
  return { text, line, command, cwd: '/', env: {} }
}

function sourceOf(name: string, source: string, line: number): string {
  if (/^(?:https?|ftp|git):|^git@/.test(source))
    throw invalid(line, `${name} of an address is not served; expected a file of the folder`, 'Fetch it with RUN curl.')
  if (name === 'ADD' && /\.(?:tar(?:\.\w+)?|tgz|txz|tbz2?)$/.test(source))
    throw invalid(line, `ADD of an archive, which unpacks it, is not served`, 'COPY it, then RUN tar.')
  const path = posix.normalize(source).replace(/^\/+/, '')
  if (path === '..' || path.startsWith('../')) throw invalid(line, `${source} leads out of the folder`)
  return path === '' ? './' : `./${path}`
}
