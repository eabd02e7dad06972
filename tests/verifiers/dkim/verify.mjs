// Judges the DKIM signatures of mails by mailauth: reads {"dns": {name: text}, "mails": [base64]} and writes, for each
// mail, what came of each of its signatures, and the DMARC-like alignment of the first.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.argv[2]}/package.json`);
const { dkimVerify } = require('mailauth/lib/dkim/verify');

const given = JSON.parse(readFileSync(0, 'utf8'));
const resolver = async (name, type) => {
    const text = given.dns[name.toLowerCase()];
    if (type === 'TXT' && text !== undefined) return [text.match(/.{1,255}/g)];
    throw Object.assign(new Error(`no ${type} of ${name}`), { code: 'ENOTFOUND' });
};
const judged = [];
for (const mail of given.mails) {
    const { results } = await dkimVerify(Buffer.from(mail, 'base64'), { resolver });
    judged.push(results.map((result) => ({
        result: result.status.result,
        aligned: result.status.aligned || false,
        domain: result.signingDomain,
        selector: result.selector,
        algorithm: result.algo,
        headers: result.signingHeaders?.keys,
        limit: result.canonBodyLengthLimited || false,
        comment: result.status.comment || null,
    })));
}
process.stdout.write(JSON.stringify(judged));
