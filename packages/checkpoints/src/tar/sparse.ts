import { Vm0Error } from '@vm0/contract'

export interface Extent {
  start: number
  end: number
}

/** More ranges than this are made fewer by taking small holes for data: the map lies in one header. */
const maxExtents = 20_000

/** A file with holes as GNU tar 0.1 has it in PAX headers: only the data follows, and a map says where it belongs. */
export function paxSparse(name: string, size: number, extents: readonly Extent[]): Record<string, string> {
  // Without an end of its own a file that has no data at all isn't taken for one with holes.
  const all = [...extents, { start: size, end: size }]
  return {
    'GNU.sparse.size': String(size),
    'GNU.sparse.numblocks': String(all.length),
    'GNU.sparse.map': all.map(({ start, end }) => `${start},${end - start}`).join(','),
    'GNU.sparse.name': name,
  }
}

export function fewExtents(extents: readonly Extent[]): readonly Extent[] {
  if (extents.length <= maxExtents) return extents
  const halved: Extent[] = []
  for (let index = 0; index < extents.length; index += 2)
    halved.push({
      start: (extents[index] as Extent).start,
      end: (extents[index + 1] ?? (extents[index] as Extent)).end,
    })
  return fewExtents(halved)
}

/** The size and the ranges of a file with holes; undefined for any other. `packed` is what follows the header. */
export function sparseOf(
  pax: Record<string, string> = {},
  packed: number,
): { size: number; extents: Extent[] } | undefined {
  const map = pax['GNU.sparse.map']
  if (map === undefined) return undefined
  const refuse = (): never => {
    throw new Vm0Error('ARCHIVE_INVALID', 'the map of a file with holes is not in order')
  }
  const size = Number(pax['GNU.sparse.size'])
  const numbers = map === '' ? [] : map.split(',').map(Number)
  if (numbers.length % 2 === 1 || numbers.length > maxExtents * 2 + 2 || !Number.isSafeInteger(size) || size < 0)
    refuse()
  const extents: Extent[] = []
  let last = 0
  let data = 0
  for (let index = 0; index < numbers.length; index += 2) {
    const [start, length] = [numbers[index] as number, numbers[index + 1] as number]
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length) || length < 0 || start < last) refuse()
    last = start + length
    if (last > size) refuse()
    data += length
    if (length > 0) extents.push({ start, end: last })
  }
  if (data !== packed) refuse()
  return { size, extents }
}
