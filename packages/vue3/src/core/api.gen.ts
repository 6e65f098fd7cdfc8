// SPDX-License-Identifier: Apache-2.0
// Made from docs/openapi.json by `npm run types`; a test fails where the two differ.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export type components = {
    schemas: {
        /**
         * ApplicationFee
         * @description The platform's share of each payment: a percentage with at most two decimals, or an amount.
         */
        ApplicationFee: {
            /** @default null */
            amount_minor?: number | null;
            /** @default null */
            percent?: number | null;
        };
        /** Busy */
        Busy: {
            /**
             * Format: date-time
             * @description RFC 3339 with an offset; what is finer than a millisecond is cut off.
             */
            end: string;
            /**
             * Format: date-time
             * @description RFC 3339 with an offset; what is finer than a millisecond is cut off.
             */
            start: string;
        };
        /** BusyAnswer */
        BusyAnswer: {
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            end: string;
            host: string;
            key: string;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            start: string;
        };
        /** CalendarAnswer */
        CalendarAnswer: {
            blocking: boolean;
            destination: boolean;
            id: string;
            name: string;
            notes: string[];
            read_at: string | null;
            time_zone: string;
            writable: boolean;
        };
        /**
         * CalendarCheck
         * @enum {unknown}
         */
        CalendarCheck: "fast" | "local" | "strict" | "verified";
        /**
         * CalendarsAnswer
         * @description `verdict` is `clean`, `pending` or `conflict`; null where no calendar is connected.
         */
        CalendarsAnswer: {
            /** @default null */
            changed_by_host?: string | null;
            check: components["schemas"]["CalendarCheck"];
            /** @default null */
            verdict?: string | null;
            /** @default null */
            verified_at?: string | null;
        };
        /**
         * Cancel
         * @description `refund` by a secret key only: the policy's share, all, nothing, or an amount.
         */
        Cancel: {
            /** @default null */
            reason?: string | null;
            /** @default null */
            refund?: ("full" | "none" | "policy") | components["schemas"]["Money"] | null;
        };
        /**
         * CancellationAnswer
         * @description What a customer who cancels now may do and gets back; `until`: when that gets worse.
         */
        CancellationAnswer: {
            allowed: boolean;
            refund: components["schemas"]["Money"] | null;
            until: string | null;
        };
        /** Checkout */
        Checkout: {
            /** @default null */
            cancel_url?: string | null;
            return_url: string;
        };
        /** Confirm */
        Confirm: {
            /** @default false */
            if_still_free?: boolean;
            /** @default null */
            payment_reference?: string | null;
        };
        /**
         * ConfirmBy
         * @description On whose word a hold becomes firm.
         * @enum {unknown}
         */
        ConfirmBy: "client_secret" | "payment" | "secret_key";
        /**
         * ConnectionAnswer
         * @description `locks`: holds are written into each blocking calendar; false: some can only be read. `notes`: what is worth knowing.
         */
        ConnectionAnswer: {
            authorize_url?: string;
            blocking: string[];
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            destination: string | null;
            freshness: components["schemas"]["Freshness"];
            host: string;
            id: string;
            last_error: components["schemas"]["Problem"] | null;
            livemode: boolean;
            locks: boolean;
            notes: string[];
            provider: string;
            status: components["schemas"]["ConnectionStatus"];
            when_broken: components["schemas"]["WhenBroken"];
            when_deleted: components["schemas"]["WhenDeleted"];
            when_moved: components["schemas"]["WhenMoved"];
        };
        /**
         * ConnectionForm
         * @description `credentials` for `caldav`, and for a service account of `google`; `url` for `ics`; `refresh_token` (or the link in
         *         the answer) for the others.
         */
        ConnectionForm: {
            /** @default null */
            credentials?: {
                [key: string]: string;
            } | null;
            host: string;
            provider: string;
            /** @default null */
            refresh_token?: string | null;
            /** @default null */
            return_url?: string | null;
            /** @default null */
            url?: string | null;
            /** @default close */
            when_broken?: components["schemas"]["WhenBroken"];
            /** @default flag */
            when_deleted?: components["schemas"]["WhenDeleted"];
            /** @default flag */
            when_moved?: components["schemas"]["WhenMoved"];
        };
        /**
         * ConnectionPatch
         * @description `destination` null: none of this connection's calendars receives reservations. `credentials`, `url`,
         *         `refresh_token`: as for a new connection to this provider.
         */
        ConnectionPatch: {
            /** @default null */
            blocking?: string[] | null;
            /** @default null */
            credentials?: {
                [key: string]: string;
            } | null;
            destination?: string | null;
            /** @default null */
            refresh_token?: string | null;
            /** @default null */
            url?: string | null;
            /** @default null */
            when_broken?: components["schemas"]["WhenBroken"] | null;
            /** @default null */
            when_deleted?: components["schemas"]["WhenDeleted"] | null;
            /** @default null */
            when_moved?: components["schemas"]["WhenMoved"] | null;
        };
        /**
         * ConnectionStatus
         * @enum {unknown}
         */
        ConnectionStatus: "active" | "broken" | "pending";
        /**
         * Customer
         * @description Who reserves. All of it may follow later, while the hold lasts; null takes a member away.
         */
        Customer: {
            billing?: Record<string, unknown> | null;
            email?: string | null;
            locale?: string | null;
            name?: string | null;
            phone?: string | null;
            time_zone?: string | null;
        };
        /**
         * DeliveryAnswer
         * @description `attempts` since it was last wished for; `error`: why there is no status.
         */
        DeliveryAnswer: {
            attempted_at: string | null;
            attempts: number;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            error: string | null;
            event: string;
            id: string;
            next_attempt_at: string | null;
            response_status: number | null;
            status: components["schemas"]["DeliveryStatus"];
            type: string;
        };
        /**
         * DeliveryStatus
         * @enum {unknown}
         */
        DeliveryStatus: "delivered" | "failed" | "pending";
        /**
         * Details
         * @description What can be added while held, member by member.
         */
        Details: {
            /** @default null */
            answers?: Record<string, unknown> | null;
            /** @default null */
            customer?: components["schemas"]["Customer"] | null;
            /** @default null */
            guests?: string[] | null;
            /** @default null */
            metadata?: Record<string, unknown> | null;
        };
        /**
         * Empty
         * @description A body or a query in which nothing can be said.
         */
        Empty: Record<string, unknown>;
        /** EndedAnswer */
        EndedAnswer: {
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            at: string;
            by: components["schemas"]["EndedBy"];
            code: components["schemas"]["EndedCode"];
        };
        /**
         * EndedBy
         * @enum {unknown}
         */
        EndedBy: "account" | "calendar" | "clock" | "customer" | "payment";
        /**
         * EndedCode
         * @enum {unknown}
         */
        EndedCode: "calendar_conflict" | "cancelled" | "hold_expired" | "payment_failed" | "released";
        /**
         * EndpointAnswer
         * @description `secret` where it was made just now, and nowhere else.
         */
        EndpointAnswer: {
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            id: string;
            livemode: boolean;
            secret?: string;
            types: string[];
            url: string;
        };
        /**
         * EndpointForm
         * @description `types` empty or left out: all of them, those to come too.
         */
        EndpointForm: {
            /** @default [] */
            types?: components["schemas"]["EventName"][];
            url: string;
        };
        /** EndpointPatch */
        EndpointPatch: {
            /** @default null */
            types?: components["schemas"]["EventName"][] | null;
            /** @default null */
            url?: string | null;
        };
        /**
         * EventAnswer
         * @description `data`: a reservation; of `payment_account.problem` a payment account, of `calendar_connection.broken` a connection.
         *
         *         A reservation is told as it was then, and its client secret never.
         */
        EventAnswer: {
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created: string;
            data: components["schemas"]["ReservationAnswer"] | components["schemas"]["PaymentAccountAnswer"] | components["schemas"]["ConnectionAnswer"];
            id: string;
            livemode: boolean;
            type: components["schemas"]["EventName"];
        };
        /**
         * EventName
         * @description Types may be added: whoever is told ignores what they do not know.
         * @enum {unknown}
         */
        EventName: "calendar_connection.broken" | "payment.captured" | "payment.needs_human" | "payment.refunded" | "payment_account.problem" | "reservation.cancelled" | "reservation.confirmed" | "reservation.expired" | "reservation.held" | "reservation.released" | "reservation.rescheduled";
        /**
         * EventTypeAnswer
         * @description An event type; `step_minutes` and `confirm_by` say what holds where nothing was given.
         */
        EventTypeAnswer: {
            /** @default true */
            active?: boolean;
            /** @default [] */
            allowed_origins?: string[];
            /**
             * @default one_of
             * @enum {unknown}
             */
            assignment?: "all_of" | "one_of";
            /** @default 0 */
            buffer_after_minutes?: number;
            /** @default 0 */
            buffer_before_minutes?: number;
            /** @default verified */
            calendar_check?: components["schemas"]["CalendarCheck"];
            /** @default null */
            cancellation?: components["schemas"]["RefundStep"][] | null;
            /** @default null */
            confirm_by?: components["schemas"]["ConfirmBy"] | null;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            /** @default null */
            description?: string | null;
            duration_minutes: number;
            /** @default 1 */
            extensions_max?: number;
            /** @default 0 */
            guests_max?: number;
            /** @default 900 */
            hold_seconds?: number;
            /** @default 60 */
            horizon_days?: number;
            hosts: string[];
            id: string;
            /** @default retake */
            late_payment?: components["schemas"]["LatePayment"];
            livemode: boolean;
            /** @default null */
            location?: components["schemas"]["Location"] | null;
            /** @default {} */
            metadata?: Record<string, unknown>;
            name: string;
            /** @default 0 */
            notice_minutes?: number;
            /** @default confirm_and_flag */
            on_conflict?: components["schemas"]["OnConflict"];
            /** @default null */
            payment_account?: string | null;
            /** @default null */
            per_day_max?: number | null;
            /** @default null */
            price?: components["schemas"]["Money"] | null;
            /** @default [] */
            questions?: components["schemas"]["Question"][];
            /** @default null */
            reschedule?: components["schemas"]["ReschedulePolicy"] | null;
            /** @default null */
            schedule?: components["schemas"]["Schedule"] | null;
            /** @default 1 */
            seats?: number;
            slug: string;
            /** @default null */
            starts?: string[] | null;
            /** @default null */
            step_minutes?: number | null;
            /** @default null */
            success_url?: string | null;
        };
        /**
         * EventTypeForm
         * @description What an account says about an event type: its rules and its slug.
         */
        EventTypeForm: {
            /** @default true */
            active?: boolean;
            /** @default [] */
            allowed_origins?: string[];
            /**
             * @default one_of
             * @enum {unknown}
             */
            assignment?: "all_of" | "one_of";
            /** @default 0 */
            buffer_after_minutes?: number;
            /** @default 0 */
            buffer_before_minutes?: number;
            /** @default verified */
            calendar_check?: components["schemas"]["CalendarCheck"];
            /** @default null */
            cancellation?: components["schemas"]["RefundStep"][] | null;
            /** @default null */
            confirm_by?: components["schemas"]["ConfirmBy"] | null;
            /** @default null */
            description?: string | null;
            duration_minutes: number;
            /** @default 1 */
            extensions_max?: number;
            /** @default 0 */
            guests_max?: number;
            /** @default 900 */
            hold_seconds?: number;
            /** @default 60 */
            horizon_days?: number;
            hosts: string[];
            /** @default retake */
            late_payment?: components["schemas"]["LatePayment"];
            /** @default null */
            location?: components["schemas"]["Location"] | null;
            /** @default {} */
            metadata?: Record<string, unknown>;
            name: string;
            /** @default 0 */
            notice_minutes?: number;
            /** @default confirm_and_flag */
            on_conflict?: components["schemas"]["OnConflict"];
            /** @default null */
            payment_account?: string | null;
            /** @default null */
            per_day_max?: number | null;
            /** @default null */
            price?: components["schemas"]["Money"] | null;
            /** @default [] */
            questions?: components["schemas"]["Question"][];
            /** @default null */
            reschedule?: components["schemas"]["ReschedulePolicy"] | null;
            /** @default null */
            schedule?: components["schemas"]["Schedule"] | null;
            /** @default 1 */
            seats?: number;
            /** @default null */
            slug?: string | null;
            /** @default null */
            starts?: string[] | null;
            /** @default null */
            step_minutes?: number | null;
            /** @default null */
            success_url?: string | null;
        };
        /** FeeAnswer */
        FeeAnswer: {
            amount_minor: number | null;
            percent: number | null;
        };
        /**
         * Freshness
         * @description As of when what is known of the calendars in use is true (of the oldest one); null: not read yet.
         */
        Freshness: {
            answered_at: string | null;
            read_at: string | null;
        };
        /** HostAnswer */
        HostAnswer: {
            calendar_feed: string;
            calendar_feed_webcal: string;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            email: string | null;
            external_id: string | null;
            id: string;
            livemode: boolean;
            metadata: Record<string, unknown>;
            name: string;
            payment_account: string | null;
            schedule: components["schemas"]["Schedule"];
            slug: string;
            time_zone: string;
        };
        /**
         * HostForm
         * @description What an account says about a host; also what a PATCH is merged into.
         */
        HostForm: {
            /** @default null */
            email?: string | null;
            /** @default null */
            external_id?: string | null;
            /** @default {} */
            metadata?: Record<string, unknown>;
            name: string;
            /** @default null */
            payment_account?: string | null;
            schedule: components["schemas"]["Schedule"];
            /** @default null */
            slug?: string | null;
            time_zone: string;
        };
        /**
         * Late
         * @description What became of money that our transaction saw after `held_until`.
         * @enum {unknown}
         */
        Late: "refunded" | "retaken" | "voided";
        /**
         * LatePayment
         * @description What happens to money that arrives after `held_until`.
         * @enum {unknown}
         */
        LatePayment: "retake" | "return";
        /** LinkAnswer */
        LinkAnswer: {
            url: string;
        };
        /** Links */
        Links: {
            manage: string;
            page: string;
        };
        /**
         * LocalInterval
         * @description Local wall times `HH:MM`, the end `24:00` at most; an end before its start is on the next day.
         */
        LocalInterval: {
            end: string;
            start: string;
        };
        /** Location */
        Location: {
            /** @enum {unknown} */
            kind: "address" | "customer" | "link" | "phone";
            /** @default null */
            value?: string | null;
        };
        /**
         * Methods
         * @description Which ways to pay a payment account offers.
         * @enum {unknown}
         */
        Methods: "holds_and_sales" | "holds_only";
        /**
         * Mode
         * @description Who decides when money moves, and whether an open checkout can be closed.
         * @enum {unknown}
         */
        Mode: "authorize" | "authorize_uncloseable" | "sale" | "sale_uncloseable";
        /**
         * Money
         * @description `amount_minor` whole minor units (6000 is 60.00 EUR, 6000 JPY, 6.000 KWD) of an ISO 4217 `currency`.
         */
        Money: {
            amount_minor: number;
            currency: string;
        };
        /**
         * MoneySays
         * @description What became of the money where there is no booking.
         * @enum {unknown}
         */
        MoneySays: "none" | "not_charged" | "refunded" | "refunding" | "released" | "watched";
        /** NeedsHuman */
        NeedsHuman: {
            code: string;
            since: string | null;
        };
        /**
         * NotificationsAnswer
         * @description Where its provider calls us. `registered` false: enter `url` with `events` there, and PATCH the secret here.
         */
        NotificationsAnswer: {
            events: string[];
            registered: boolean;
            url: string;
        };
        /**
         * OnConflict
         * @enum {unknown}
         */
        OnConflict: "confirm_and_flag" | "refund";
        /** OnboardingLink */
        OnboardingLink: {
            refresh_url: string;
            return_url: string;
        };
        /**
         * Outcome
         * @description How it stands for whoever comes back from a checkout, money included: one word for one sentence.
         * @enum {unknown}
         */
        Outcome: "asking" | "cancelled" | "confirmed" | "confirming" | "not_booked" | "not_paid";
        /**
         * Override
         * @description Other hours on one date, in place of all that would start on it; none: closed.
         */
        Override: {
            date: string;
            /** @default [] */
            intervals?: components["schemas"]["LocalInterval"][];
        };
        /**
         * Page[CalendarAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_CalendarAnswer_: {
            data: components["schemas"]["CalendarAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[ConnectionAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_ConnectionAnswer_: {
            data: components["schemas"]["ConnectionAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[DeliveryAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_DeliveryAnswer_: {
            data: components["schemas"]["DeliveryAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[EndpointAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_EndpointAnswer_: {
            data: components["schemas"]["EndpointAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[EventAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_EventAnswer_: {
            data: components["schemas"]["EventAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[EventTypeAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_EventTypeAnswer_: {
            data: components["schemas"]["EventTypeAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[HostAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_HostAnswer_: {
            data: components["schemas"]["HostAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[PaymentAccountAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_PaymentAccountAnswer_: {
            data: components["schemas"]["PaymentAccountAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[PaymentAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_PaymentAnswer_: {
            data: components["schemas"]["PaymentAnswer"][];
            next_cursor: string | null;
        };
        /**
         * Page[ReservationAnswer]
         * @description One page of a list, newest first; `next_cursor` is null on the last.
         */
        Page_ReservationAnswer_: {
            data: components["schemas"]["ReservationAnswer"][];
            next_cursor: string | null;
        };
        /** PaymentAccountAnswer */
        PaymentAccountAnswer: {
            application_fee: components["schemas"]["FeeAnswer"] | null;
            charges_enabled: boolean;
            connected_account: string | null;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            id: string;
            livemode: boolean;
            methods: components["schemas"]["Methods"] | null;
            mode: components["schemas"]["Mode"];
            notifications: components["schemas"]["NotificationsAnswer"];
            platform: string | null;
            problem: string | null;
            provider: string;
        };
        /**
         * PaymentAccountForm
         * @description `credentials` as the provider's page in the docs says; or `platform` and `connected_account`, with `application_fee`.
         *
         *         `mode` is the sandbox's alone; elsewhere `methods` decides how money moves.
         */
        PaymentAccountForm: {
            /** @default null */
            application_fee?: components["schemas"]["ApplicationFee"] | null;
            /** @default null */
            connected_account?: string | null;
            /** @default null */
            credentials?: Record<string, unknown> | null;
            /** @default holds_only */
            methods?: components["schemas"]["Methods"];
            /** @default null */
            mode?: components["schemas"]["Mode"] | null;
            /** @default null */
            platform?: string | null;
            /** @default null */
            provider?: string | null;
        };
        /**
         * PaymentAccountPatch
         * @description `credentials`: the members that change.
         */
        PaymentAccountPatch: {
            application_fee?: components["schemas"]["ApplicationFee"] | null;
            /** @default null */
            credentials?: Record<string, unknown> | null;
            /** @default null */
            methods?: components["schemas"]["Methods"] | null;
            /** @default null */
            mode?: components["schemas"]["Mode"] | null;
        };
        /** PaymentAnswer */
        PaymentAnswer: {
            amount: components["schemas"]["Money"];
            captured: components["schemas"]["Money"];
            checkout_url: string | null;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            disputed: boolean;
            id: string;
            late: components["schemas"]["Late"] | null;
            livemode: boolean;
            mode: components["schemas"]["Mode"];
            needs_human: components["schemas"]["NeedsHuman"] | null;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            pay_before: string;
            payment_account: string;
            provider: string;
            provider_ref: string | null;
            refund_due: components["schemas"]["Money"];
            refunded: components["schemas"]["Money"];
            reservation: string;
            status: components["schemas"]["PaymentStatus"];
        };
        /**
         * PaymentStatus
         * @enum {unknown}
         */
        PaymentStatus: "abandoned" | "authorized" | "captured" | "failed" | "open" | "processing" | "refunded" | "voided";
        /** @description RFC 9457, with what the code needs beside it. */
        Problem: {
            /** @enum {string} */
            code: "already_cancelled" | "already_confirmed" | "already_paid" | "already_released" | "body_too_large" | "busy" | "calendar_conflict" | "calendar_connection_not_found" | "calendar_unreachable" | "checkout_open" | "checkout_refused" | "database_unavailable" | "delivery_not_found" | "details_missing" | "event_type_inactive" | "event_type_not_found" | "extension_refused" | "forbidden_for_key" | "hold_expired" | "host_not_found" | "idempotency_in_progress" | "idempotency_key_reused" | "invalid_request" | "malformed_json" | "malformed_request" | "method_not_allowed" | "no_payment_account" | "not_confirmed" | "not_found" | "nothing_to_pay" | "payee_ambiguous" | "payment_account_not_found" | "payment_in_progress" | "payment_not_found" | "payment_required" | "provider_unavailable" | "refund_exceeds_payment" | "refund_not_ours" | "reservation_not_found" | "return_url_not_allowed" | "sandbox_action_refused" | "secret_in_url" | "slot_not_offered" | "slot_taken" | "slug_taken" | "still_in_use" | "too_late_to_cancel" | "too_late_to_pay" | "too_late_to_reschedule" | "too_many_holds" | "unauthenticated" | "unsafe_confirmation" | "unsupported_media_type" | "webhook_endpoint_not_found";
            detail: string;
            errors?: {
                field: string;
                message: string;
            }[];
            status: number;
            title: string;
            /** Format: uri */
            type: string;
        };
        /**
         * Question
         * @description One field of the form. `options` for `choice` and `choices` only.
         */
        Question: {
            key: string;
            /** @default text */
            kind?: components["schemas"]["QuestionKind"];
            label: string;
            /** @default null */
            options?: string[] | null;
            /** @default false */
            required?: boolean;
        };
        /**
         * QuestionKind
         * @enum {unknown}
         */
        QuestionKind: "choice" | "choices" | "email" | "long_text" | "number" | "phone" | "text" | "yes_no";
        /**
         * Refund
         * @description Without `amount`: all that is kept.
         */
        Refund: {
            /** @default null */
            amount?: components["schemas"]["Money"] | null;
        };
        /**
         * RefundStep
         * @description Cancelled at least `until_minutes_before` the start: `refund_percent` of what was paid goes back.
         */
        RefundStep: {
            refund_percent: number;
            until_minutes_before: number;
        };
        /** Release */
        Release: {
            /** @default false */
            force?: boolean;
        };
        /** Reschedule */
        Reschedule: {
            /**
             * Format: date-time
             * @description RFC 3339 with an offset; what is finer than a millisecond is cut off.
             */
            start: string;
        };
        /** ReschedulePolicy */
        ReschedulePolicy: {
            /** @default 3 */
            times_max?: number;
            /** @default 0 */
            until_minutes_before?: number;
        };
        /** ReservationAnswer */
        ReservationAnswer: {
            answers: Record<string, unknown>;
            calendars: components["schemas"]["CalendarsAnswer"];
            cancellation: components["schemas"]["CancellationAnswer"];
            client_secret?: string;
            confirmed_at: string | null;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            created_at: string;
            customer: Record<string, unknown>;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            end: string;
            ended: components["schemas"]["EndedAnswer"] | null;
            event_type: string;
            extensions_left: number;
            guests: string[];
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            held_until: string;
            hold_seconds: number;
            hosts: string[];
            id: string;
            links: components["schemas"]["Links"];
            livemode: boolean;
            location: components["schemas"]["Location"] | null;
            metadata: Record<string, unknown>;
            payment: components["schemas"]["PaymentAnswer"] | null;
            payment_open: boolean;
            payment_reference?: string | null;
            price: components["schemas"]["Money"] | null;
            processing_until: string | null;
            seats: number;
            sequence: number;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            server_time: string;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            start: string;
            status: components["schemas"]["Status"];
        };
        /** Reserve */
        Reserve: {
            /** @default null */
            answers?: Record<string, unknown> | null;
            /** @default null */
            customer?: components["schemas"]["Customer"] | null;
            event_type: string;
            /** @default null */
            guests?: string[] | null;
            /** @default null */
            hold_seconds?: number | null;
            /** @default null */
            host?: string | null;
            /** @default null */
            metadata?: Record<string, unknown> | null;
            /** @default false */
            outside_rules?: boolean;
            /** @default 1 */
            seats?: number;
            /**
             * Format: date-time
             * @description RFC 3339 with an offset; what is finer than a millisecond is cut off.
             */
            start: string;
        };
        /** Resolve */
        Resolve: {
            note: string;
        };
        /**
         * Schedule
         * @description When somebody is open. Empty: never.
         *
         *         `holidays` is an ISO 3166 country or subdivision (`CZ`, `US-CA`): its public holidays are closed, unless an
         *         override says otherwise.
         */
        Schedule: {
            /** @default null */
            holidays?: string | null;
            /** @default [] */
            overrides?: components["schemas"]["Override"][];
            /** @default [] */
            weekly?: components["schemas"]["WeeklyHours"][];
        };
        /** SlotTold */
        SlotTold: {
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            end: string;
            seats_left: number;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            start: string;
        };
        /**
         * SlotsAnswer
         * @description `days`: indexes into `slots` by local date in `time_zone`. Up to `next_change_at` time alone changes nothing.
         */
        SlotsAnswer: {
            days: {
                [key: string]: number[];
            };
            event_type: string;
            next_change_at: string | null;
            slots: components["schemas"]["SlotTold"][];
            time_zone: string;
        };
        /**
         * Standing
         * @description Nothing personal: anybody who knows the id may ask.
         */
        Standing: {
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            end: string;
            money: components["schemas"]["MoneySays"];
            outcome: components["schemas"]["Outcome"];
            reservation: string;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            server_time: string;
            /**
             * Format: date-time
             * @description RFC 3339, in UTC, with milliseconds.
             */
            start: string;
            status: components["schemas"]["Status"];
            waiting: boolean;
        };
        /**
         * Status
         * @enum {unknown}
         */
        Status: "cancelled" | "confirmed" | "expired" | "held" | "processing" | "released";
        /**
         * WeeklyHours
         * @description The same hours on some days of every week.
         */
        WeeklyHours: {
            days: string[];
            end: string;
            start: string;
        };
        /**
         * WhenBroken
         * @enum {unknown}
         */
        WhenBroken: "close" | "ignore";
        /**
         * WhenDeleted
         * @enum {unknown}
         */
        WhenDeleted: "cancel" | "flag" | "restore";
        /**
         * WhenMoved
         * @enum {unknown}
         */
        WhenMoved: "flag" | "follow";
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
};
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
