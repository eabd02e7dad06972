// Amazon's own clients for JavaScript, v2 and v1: access key id, secret.
const v2 = require('@aws-sdk/client-sesv2');
const v1 = require('@aws-sdk/client-ses');
const endpoint = process.env.POSTROAD_URL;
const [accessKeyId, secretAccessKey] = process.argv.slice(2);
const config = { endpoint, region: 'eu-west-1', credentials: { accessKeyId, secretAccessKey }, maxAttempts: 1 };
const ses = new v2.SESv2Client(config);
const old = new v1.SESClient(config);
const wrong = new v2.SESv2Client({ ...config, credentials: { accessKeyId, secretAccessKey: 'another secret' } });
const from = '=?utf-8?q?Acme_T=C3=A9st?= <hello@acme.example>';
const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);

async function refused(call) {
    try { await call; return null; } catch (error) { return [error.name, error.$metadata.httpStatusCode, error.message]; }
}

(async () => {
    const out = {};
    const simple = await ses.send(new v2.SendEmailCommand({
        FromEmailAddress: from,
        Destination: { ToAddresses: ['Ann Ünal <ann@example.net>'], BccAddresses: ['bob@example.net'] },
        ReplyToAddresses: ['help@acme.example'],
        Content: { Simple: {
            Subject: { Data: 'Grüße', Charset: 'UTF-8' },
            Body: { Text: { Data: 'Hello.' }, Html: { Data: '<p>Hello.</p>' } },
            Headers: [{ Name: 'X-Order', Value: '7' }],
            Attachments: [{ FileName: 'a.bin', RawContent: bytes, ContentType: 'application/octet-stream' }],
        } },
        EmailTags: [{ Name: 'order', Value: '7' }],
        ConfigurationSetName: 'any',
    }));
    out.simple = simple.MessageId;
    const raw = 'From: hello@acme.example\r\nTo: ann@example.net\r\nSubject: Raw\r\nX-SES-MESSAGE-TAGS: kind=raw\r\n\r\nRaw.\r\n';
    out.raw = (await ses.send(new v2.SendEmailCommand({ Content: { Raw: { Data: Buffer.from(raw) } } }))).MessageId;

    const content = { Subject: 'Hi {{name}}', Text: 'Hi {{name}}.', Html: '<p>Hi {{name}}.</p>' };
    await ses.send(new v2.CreateEmailTemplateCommand({ TemplateName: 'Welcome', TemplateContent: content }));
    out.twice = await refused(ses.send(new v2.CreateEmailTemplateCommand({ TemplateName: 'Welcome', TemplateContent: content })));
    out.template = await ses.send(new v2.GetEmailTemplateCommand({ TemplateName: 'Welcome' })).then(({ TemplateName, TemplateContent }) => [TemplateName, TemplateContent]);
    const bulk = await ses.send(new v2.SendBulkEmailCommand({
        FromEmailAddress: from,
        DefaultContent: { Template: { TemplateName: 'Welcome', TemplateData: '{"name": "you"}' } },
        BulkEmailEntries: [
            { Destination: { ToAddresses: ['ann@example.net'] }, ReplacementEmailContent: { ReplacementTemplate: { ReplacementTemplateData: '{"name": "Ann"}' } } },
            { Destination: { ToAddresses: ['bob@example.net'] }, ReplacementTags: [{ Name: 'who', Value: 'bob' }] },
            { Destination: { ToAddresses: ['nobody'] } },
        ],
    }));
    out.bulk = bulk.BulkEmailEntryResults.map(({ Status, MessageId }) => [Status, MessageId]);
    await ses.send(new v2.UpdateEmailTemplateCommand({ TemplateName: 'Welcome', TemplateContent: { ...content, Subject: 'Again {{name}}' } }));
    out.templates = (await ses.send(new v2.ListEmailTemplatesCommand({}))).TemplatesMetadata.map((one) => one.TemplateName);
    await ses.send(new v2.DeleteEmailTemplateCommand({ TemplateName: 'Welcome' }));
    out.gone = await refused(ses.send(new v2.GetEmailTemplateCommand({ TemplateName: 'Welcome' })));

    await ses.send(new v2.PutSuppressedDestinationCommand({ EmailAddress: 'dead@example.net', Reason: 'COMPLAINT' }));
    const dead = await ses.send(new v2.GetSuppressedDestinationCommand({ EmailAddress: 'dead@example.net' }));
    out.suppressed = [dead.SuppressedDestination.EmailAddress, dead.SuppressedDestination.Reason, dead.SuppressedDestination.LastUpdateTime instanceof Date];
    out.list = (await ses.send(new v2.ListSuppressedDestinationsCommand({ Reasons: ['COMPLAINT'] }))).SuppressedDestinationSummaries.length;
    await ses.send(new v2.DeleteSuppressedDestinationCommand({ EmailAddress: 'dead@example.net' }));
    out.free = await refused(ses.send(new v2.GetSuppressedDestinationCommand({ EmailAddress: 'dead@example.net' })));

    const made = await ses.send(new v2.CreateEmailIdentityCommand({ EmailIdentity: 'new.example' }));
    out.identity = [made.IdentityType, made.VerifiedForSendingStatus, made.DkimAttributes.Tokens.length > 0];
    out.identities = (await ses.send(new v2.ListEmailIdentitiesCommand({}))).EmailIdentities.map((one) => one.IdentityName);
    out.read = (await ses.send(new v2.GetEmailIdentityCommand({ EmailIdentity: 'new.example' }))).VerificationStatus;
    await ses.send(new v2.DeleteEmailIdentityCommand({ EmailIdentity: 'new.example' }));
    out.account = (await ses.send(new v2.GetAccountCommand({}))).SendQuota.Max24HourSend;

    const rendered = await ses.send(new v2.CreateEmailTemplateCommand({ TemplateName: 'Shown', TemplateContent: content }))
        .then(() => ses.send(new v2.TestRenderEmailTemplateCommand({ TemplateName: 'Shown', TemplateData: '{"name": "Ann"}' })));
    out.rendered = [/^Subject: Hi Ann\r$/m.test(rendered.RenderedTemplate), /<p>Hi Ann/.test(rendered.RenderedTemplate), /^(From|To):/m.test(rendered.RenderedTemplate)];
    const insights = await ses.send(new v2.GetMessageInsightsCommand({ MessageId: out.simple }));
    out.insights = [insights.Subject, insights.Insights.map((one) => [one.Destination, one.Events[0].Type, one.Events[0].Timestamp instanceof Date])];
    const [EndDate, StartDate] = [new Date(), new Date(Date.now() - 86400e3)];
    const query = (Id, Metric, Dimensions) => ({ Id, Namespace: 'VDM', Metric, Dimensions, StartDate, EndDate });
    const metrics = await ses.send(new v2.BatchGetMetricDataCommand({ Queries: [query('a', 'SEND'), query('b', 'SEND', { ISP: 'x' })] }));
    out.metrics = [metrics.Results.map((one) => [one.Id, Array.isArray(one.Values)]), metrics.Errors.map((one) => one.Id)];

    const Template = { TemplateName: 'Older', SubjectPart: 'Hi {{name}}', TextPart: 'Hi {{name}}.' };
    await old.send(new v1.CreateTemplateCommand({ Template }));
    out.v1again = await refused(old.send(new v1.CreateTemplateCommand({ Template })));
    out.v1template = (await old.send(new v1.GetTemplateCommand({ TemplateName: 'Older' }))).Template.SubjectPart;
    const many = await old.send(new v1.SendBulkTemplatedEmailCommand({
        Source: 'hello@acme.example', Template: 'Older', DefaultTemplateData: '{"name": "you"}', DefaultTags: [{ Name: 'kind', Value: 'bulk' }],
        Destinations: [
            { Destination: { ToAddresses: ['ann@example.net'] }, ReplacementTemplateData: '{"name": "Ann"}' },
            { Destination: { ToAddresses: ['bob@example.net'] } },
            { Destination: { ToAddresses: ['nobody'] } },
        ],
    }));
    out.v1bulk = many.Status.map((one) => [one.Status, one.MessageId]);
    out.v1templated = (await old.send(new v1.SendTemplatedEmailCommand({ Source: 'hello@acme.example', Destination: { ToAddresses: ['ann@example.net'] }, Template: 'Older', TemplateData: '{"name": "Ann"}' }))).MessageId;
    out.v1templates = (await old.send(new v1.ListTemplatesCommand({}))).TemplatesMetadata.map((one) => [one.Name, one.CreatedTimestamp instanceof Date]);
    out.v1rendered = (await old.send(new v1.TestRenderTemplateCommand({ TemplateName: 'Older', TemplateData: '{"name": "Ann"}' }))).RenderedTemplate.includes('Hi Ann.');
    await old.send(new v1.UpdateTemplateCommand({ Template: { ...Template, SubjectPart: 'Other' } }));
    await old.send(new v1.DeleteTemplateCommand({ TemplateName: 'Older' }));
    out.v1gone = await refused(old.send(new v1.GetTemplateCommand({ TemplateName: 'Older' })));
    out.v1tokens = (await old.send(new v1.VerifyDomainDkimCommand({ Domain: 'older.example' }))).DkimTokens.length > 0;
    out.v1verification = (await old.send(new v1.GetIdentityVerificationAttributesCommand({ Identities: ['older.example', 'none.example'] }))).VerificationAttributes;
    await old.send(new v1.DeleteIdentityCommand({ Identity: 'older.example' }));
    out.v1statistics = Array.isArray((await old.send(new v1.GetSendStatisticsCommand({}))).SendDataPoints);

    out.v1 = (await old.send(new v1.SendEmailCommand({
        Source: 'hello@acme.example',
        Destination: { ToAddresses: ['ann@example.net'] },
        Message: { Subject: { Data: 'Old & <good>' }, Body: { Text: { Data: 'Old.' } } },
    }))).MessageId;
    out.v1quota = (await old.send(new v1.GetSendQuotaCommand({}))).Max24HourSend;
    out.v1bad = await refused(old.send(new v1.SendEmailCommand({
        Source: 'nobody', Destination: { ToAddresses: ['ann@example.net'] },
        Message: { Subject: { Data: 'x' }, Body: { Text: { Data: 'x' } } },
    })));
    out.wrong = await refused(wrong.send(new v2.GetAccountCommand({})));
    const stranger = new v2.SESv2Client({ ...config, credentials: { accessKeyId: 'AKIANOBODY', secretAccessKey } });
    out.stranger = await refused(stranger.send(new v2.GetAccountCommand({})));
    out.nobody = await refused(ses.send(new v2.SendEmailCommand({ FromEmailAddress: from, Destination: {}, Content: { Simple: { Subject: { Data: 'x' }, Body: { Text: { Data: 'x' } } } } })));
    console.log(JSON.stringify(out));
})().catch((error) => { console.error(error); process.exit(1); });
