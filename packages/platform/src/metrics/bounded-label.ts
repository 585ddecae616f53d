/** What values of a label are called once there are more of them than are kept apart. */
export const otherValues = 'other'

const maxChars = 64

/**
 * The first `max` values of a label as they are, all later ones as `other`: what a run can choose (the name of a tool, a
 * model, a project) must not make series without end.
 */
export function boundedLabel(max: number): (value: string) => string {
  const known = new Set<string>()
  return (value) => {
    const name = value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, maxChars)
    if (known.has(name)) return name
    if (known.size >= max) return otherValues
    known.add(name)
    return name
  }
}
