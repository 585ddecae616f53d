/** From here on a run is told; again only when there was less than that meanwhile. */
const tellAt = 0.9
const forgetAt = 0.8

/** Whether somebody is to be told of how full something is, who was told of it before or not. */
export function isPressing(used: number, total: number, wasTold: boolean): boolean {
  return used >= total * (wasTold ? forgetAt : tellAt)
}
