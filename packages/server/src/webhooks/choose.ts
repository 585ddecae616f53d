export interface Due {
  projectId: string
  webhookId: string
  id: string
}

/** How many attempts are on their way at once: whose receivers hang must not keep others waiting. */
export interface Bounds {
  all: number
  perProject: number
  perWebhook: number
}

export const defaultBounds: Bounds = { all: 64, perProject: 8, perWebhook: 4 }

/** Of what is due, the longest waiting first, that for which there is room beside what is on its way. */
export function choose(due: readonly Due[], onTheWay: Iterable<Due>, bounds: Bounds): Due[] {
  const counts = new Map<string, number>()
  const count = (key: string): number => counts.get(key) ?? 0
  const keysOf = ({ projectId, webhookId }: Due): [string, string, string] => [
    '',
    projectId,
    `${projectId}/${webhookId}`,
  ]
  const add = (one: Due): void => {
    for (const key of keysOf(one)) counts.set(key, count(key) + 1)
  }
  for (const one of onTheWay) add(one)
  return due.filter((one) => {
    const [all, project, webhook] = keysOf(one)
    const hasRoom = count(all) < bounds.all && count(project) < bounds.perProject && count(webhook) < bounds.perWebhook
    if (hasRoom) add(one)
    return hasRoom
  })
}

/** Projects that have no room: what waits of them must not hide what waits of others. */
export function fullProjects(onTheWay: Iterable<Due>, { perProject }: Bounds): string[] {
  const counts = new Map<string, number>()
  for (const { projectId } of onTheWay) counts.set(projectId, (counts.get(projectId) ?? 0) + 1)
  return [...counts].filter(([, count]) => count >= perProject).map(([projectId]) => projectId)
}
