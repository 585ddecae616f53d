import { createHash } from 'node:crypto'
import { filePatchSchema, maxPatchLineBytes, Vm0Error, type FilePatch } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { readAll } from '../exec-output.js'
import { checkPath } from '../files.js'
import { arrivalOf, type ArrivalWriters } from './arrived.js'
import { firstLine, parseLine } from './first-line.js'

/**
 * Puts a file together beside its place, from parts that stdin names and the bytes that it brings, and moves it there when it
 * is whole. What has arrived when stdin breaks off stays for the next try.
 */
const script = `
path=$1 arrival=$2 from=$3 size=$4 digest=$5 mode=$6 time=$7
test -e "$path" && ! test -f "$path" && exit 45
umask 077
folder=$(dirname -- "$arrival")
mkdir -p -- "$folder" || exit 1
find "$folder" -type f -mtime +0 -delete 2>/dev/null
if test "$from" -eq 0; then : >"$arrival"; else
  test "$(stat -c %s -- "$arrival" 2>/dev/null || echo 0)" -ge "$from" || exit 48
  truncate -s "$from" -- "$arrival"
fi || exit 1
while read -r from bytes at && test "$from" != end; do
  if test "$from" = here; then head -c "$bytes"
  else dd if="$path" bs=1M iflag=skip_bytes,count_bytes,fullblock skip="$at" count="$bytes" status=none
  fi || { rm -f -- "$arrival"; break; }
done >>"$arrival"
test -f "$arrival" || exit 46
read -r last || exit 47
if test "$last" != done || test "$(stat -c %s -- "$arrival")" != "$size"; then rm -f -- "$arrival"; exit 46; fi
if test -n "$digest"; then
  made=$(sha256sum <"$arrival")
  if test "\${made%% *}" != "$digest"; then rm -f -- "$arrival"; exit 46; fi
fi
umask 022
mkdir -p -- "$(dirname -- "$path")" && chmod "$mode" -- "$arrival" && touch -d "$time" -- "$arrival" &&
  mv -f -T -- "$arrival" "$path"`

/** Makes a file of what is there and what the request brings (see `file-patch.ts`). */
export async function patchFile(
  sandbox: Sandbox,
  path: string,
  request: AsyncIterable<Uint8Array>,
  writers: ArrivalWriters,
): Promise<void> {
  checkPath(path)
  const { line, rest } = await firstLine(request, maxPatchLineBytes)
  const patch = parseLine(line, filePatchSchema, 'a file from parts')
  const { digest, sizeBytes, mode, modifiedMs, fromBytes } = patch
  const arrival = arrivalOf(path, digest)
  // What comes through here whole needn't be read once more there.
  const isSeen = fromBytes === 0 && patch.parts.every(([from]) => from === 'here')
  const args = [fromBytes, sizeBytes, isSeen ? '' : digest, mode.toString(8), `@${modifiedMs / 1000}`].map(String)
  const { exitCode, stderr } = await writers.alone(arrival, (signal) =>
    readAll(
      sandbox.exec({
        args: ['sh', '-c', script, 'sh', path, arrival, ...args],
        cwd: '/',
        stdin: instructions(patch, rest, isSeen),
        signal,
      }),
      65_536,
    ),
  )
  if (exitCode !== 0) throw failure(path, exitCode, stderr.trim())
}

/**
 * A line for each part, behind it the bytes that the request has for it. Then `done` when those were all, no more and no fewer,
 * or `other` where the digest is to be looked at here, and is another one.
 */
async function* instructions(
  { parts, digest }: FilePatch,
  content: AsyncIterable<Uint8Array>,
  isSeen: boolean,
): AsyncGenerator<Uint8Array> {
  const source = content[Symbol.asyncIterator]()
  const seen = createHash('sha256')
  let held = new Uint8Array()
  for (const [from, lengthBytes, at = 0] of parts) {
    yield Buffer.from(`${from} ${lengthBytes} ${at}\n`)
    if (from === 'there') continue
    for (let left = lengthBytes; left > 0;) {
      if (held.length === 0) {
        const { done, value } = await source.next()
        if (done) return
        held = value as Uint8Array<ArrayBuffer>
      }
      const taken = held.subarray(0, left)
      if (isSeen) seen.update(taken)
      yield taken
      left -= taken.length
      held = held.subarray(taken.length)
    }
  }
  yield Buffer.from('end\n')
  if (held.length > 0 || !(await source.next()).done) return
  yield Buffer.from(isSeen && seen.digest('hex') !== digest ? 'other\n' : 'done\n')
}

function failure(path: string, exitCode: number, words: string): Vm0Error {
  if (/No space left/.test(words))
    return new Vm0Error('SANDBOX_DISK_FULL', `putting ${path} together failed: the session's disk is full`)
  if (exitCode === 45)
    return new Vm0Error('FILE_INVALID', `${path} is in the session and no regular file; expected one or nothing`)
  if (exitCode === 46 || exitCode === 48)
    return new Vm0Error('FILE_CHANGED', `${path} was not written: what its parts make is not what was announced`, {
      hint: 'It changed on one of the sides meanwhile: try again.',
    })
  if (exitCode === 47)
    return new Vm0Error('INVALID_REQUEST', `${path} was not written: fewer bytes came than its parts have, or more`, {
      hint: 'What has arrived is kept: go on from there.',
    })
  return new Vm0Error('FILE_INVALID', `putting ${path} together failed: ${words || `it ended with ${exitCode}`}`)
}
