const given = Number.parseInt(process.env.FC_SEED ?? '', 10);

/** Of the runs of properties; it stands in their names. FC_SEED repeats those of a failure. */
export const SEED: number = Number.isNaN(given) ? Date.now() % 2 ** 31 : given;
